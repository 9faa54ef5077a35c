import { afterAll } from "vitest";

/** Sweeps over places that are mostly alike try some of them in each run, and all of them when FARSHORE_SWEEP=all asks for it. */

export const sweepsAll = process.env["FARSHORE_SWEEP"] === "all";

export const seed = Number(process.env["FARSHORE_SEED"] ?? Math.floor(Math.random() * 10_000));

/** At most `max` of the places, evenly apart, the first of them by the seed: in some run each has its turn. */
export function sampled<T>(places: readonly T[], max: number): readonly T[] {
  if (sweepsAll || places.length <= max) return places;
  const stride = Math.ceil(places.length / max);
  return places.filter((_, index) => index % stride === seed % stride);
}

/** The commands that try the same places again, and all of them. */
export function repeatOf(file: string): string {
  const command = `npx vitest run --project workflows ${file}`;
  return sweepsAll ? `FARSHORE_SWEEP=all ${command}` : `FARSHORE_SEED=${seed} ${command} (all: FARSHORE_SWEEP=all)`;
}

/** `sampled` for one file, and its `repeatOf`; after the tests it prints how many of how many places were tried. */
export function samplerOf(file: string, what: string) {
  const tried = { of: 0, at: 0 };
  const repeat = repeatOf(file);
  afterAll(() => console.info(`${what} at ${tried.at} of ${tried.of} places: ${repeat}`));
  const sample = <T>(places: readonly T[], max: number): readonly T[] => {
    const some = sampled(places, max);
    tried.of += places.length;
    tried.at += some.length;
    return some;
  };
  return { sample, repeat };
}

/** The numbers from 1 to `count`. */
export const numbersTo = (count: number): readonly number[] => Array.from({ length: count }, (_, index) => index + 1);

/** Hundreds of runs, on a machine that does other things as well; all of a scenario that waits for long take most of an hour. */
export const sweepTimeoutMs = sweepsAll ? 3_600_000 : 900_000;
