/** A step that may be taken, and where it leads. */
export interface Step<S> {
  readonly label: string;
  readonly to: S;
  /** A rule that the step itself broke. */
  readonly broken?: string | undefined;
}

export interface Model<S> {
  readonly start: readonly S[];
  steps(state: S): Iterable<Step<S>>;
  /** The invariant that the state breaks; undefined for none. */
  broken(state: S): string | undefined;
  /** Nothing is left to do and nobody is stuck. */
  isEnd(state: S): boolean;
  /** The same text for the same state. */
  key(state: S): string;
}

export interface Explored {
  readonly states: number;
  readonly steps: number;
  readonly depth: number;
  readonly ends: number;
  /** The first broken rule, reached on a shortest way; null when all hold. */
  readonly counterexample: { readonly broken: string; readonly trace: readonly string[] } | null;
}

/**
 * Every state that can be reached, breadth first, so that a counterexample is a shortest one. When no invariant is broken, every
 * state must still have a way to an end: a fair world then comes to it. Throws beyond `statesMax`.
 */
export function explore<S>(model: Model<S>, statesMax: number): Explored {
  const known = new Map<string, number>();
  const states: S[] = [];
  const from: number[] = [];
  const how: string[] = [];
  const depths: number[] = [];
  const back: number[][] = [];
  let steps = 0;
  const visit = (state: S, parent: number, label: string): number => {
    const key = model.key(state);
    const seen = known.get(key);
    if (seen !== undefined) return seen;
    const index = states.length;
    if (index >= statesMax) throw new RangeError(`more than ${statesMax} states`);
    known.set(key, index);
    states.push(state);
    from.push(parent);
    how.push(label);
    depths.push(parent < 0 ? 0 : (depths[parent] ?? 0) + 1);
    back.push([]);
    return index;
  };
  const traceTo = (index: number): readonly string[] => {
    const trace: string[] = [];
    for (let at = index; at >= 0; at = from[at] ?? -1) trace.push(how[at] ?? "");
    return trace.reverse().filter((label) => label !== "");
  };
  const result = (counterexample: Explored["counterexample"], ends: number): Explored => ({
    ...{ states: states.length, steps, depth: depths.at(-1) ?? 0, ends, counterexample },
  });
  for (const state of model.start) visit(state, -1, "");
  for (let index = 0; index < states.length; index += 1) {
    const state = states[index];
    if (state === undefined) break;
    const broken = model.broken(state);
    if (broken !== undefined) return result({ broken, trace: traceTo(index) }, 0);
    for (const step of model.steps(state)) {
      steps += 1;
      if (step.broken !== undefined) {
        return result({ broken: step.broken, trace: [...traceTo(index), step.label] }, 0);
      }
      const next = visit(step.to, index, step.label);
      if (next !== index) back[next]?.push(index);
    }
  }
  const ends = states.flatMap((state, index) => (model.isEnd(state) ? [index] : []));
  const stuck = firstWithout(reaching(ends, back), states.length);
  if (stuck === undefined) return result(null, ends.length);
  return result({ broken: "no end can be reached any more", trace: traceTo(stuck) }, ends.length);
}

/** The states from which one of `ends` can be reached, going back over every step. */
function reaching(ends: readonly number[], back: readonly (readonly number[])[]): ReadonlySet<number> {
  const reached = new Set(ends);
  const queue = [...ends];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    for (const before of back[next] ?? []) {
      if (reached.has(before)) continue;
      reached.add(before);
      queue.push(before);
    }
  }
  return reached;
}

function firstWithout(reached: ReadonlySet<number>, count: number): number | undefined {
  for (let index = 0; index < count; index += 1) if (!reached.has(index)) return index;
  return undefined;
}
