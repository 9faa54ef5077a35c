import type { retentionLimits } from "#core/retention/limits.ts";

/** Bounds of retention that a short journal meets. */
const first = {
  openBatches: 2,
  unitsMin: 2,
  packsMax: 2048,
  packBytesMax: 2 ** 30,
  manifestsKept: 256,
  eventsMax: 256,
};

/** What holds instead of retention's own limits where a test mocks them with `withSmallLimits`; a test may change one. */
export const small = { ...first };

export function resetSmallLimits(): void {
  Object.assign(small, first);
}

/** For `vi.mock` of core/retention/limits.ts: every read of a limit looks here first. */
export function withSmallLimits({ retentionLimits: real }: { readonly retentionLimits: typeof retentionLimits }) {
  const get = (of: object, name: string | symbol) => Reflect.get(Object.hasOwn(small, name) ? small : of, name);
  return { retentionLimits: new Proxy(real, { get }) };
}
