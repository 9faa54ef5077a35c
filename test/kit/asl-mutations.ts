/** One change of a document that a scenario should notice. */
export interface AslMutant {
  /** Where and what, such as `$.States.Boot.Next: Commit -> End`. */
  readonly label: string;
  readonly document: unknown;
}

type Node = Record<string, unknown>;

/** An error name that nothing throws. */
const NEVER = "Mutant.Never";

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Every document that differs from this one by a single change of a Next (to another state, to End), a Default (to another
 * state), a Catch (removed, leading elsewhere) or a Retry (removed, for another error, without attempts), in nested branches
 * too. The other state is the next one of its block in the document's order, cyclic; the state itself only if there is no other.
 */
export function* aslMutants(document: unknown): Generator<AslMutant> {
  if (!isNode(document)) throw new TypeError("an ASL document is an object");
  yield* mutateBlock(document, [], document);
}

function* mutateBlock(document: Node, at: readonly (string | number)[], block: Node): Generator<AslMutant> {
  const states = block["States"];
  if (!isNode(states)) throw new TypeError(`no States at ${pathOf(at)}`);
  const names = Object.keys(states);
  for (const [name, state] of Object.entries(states)) {
    if (!isNode(state)) throw new TypeError(`no state at ${pathOf([...at, "States", name])}`);
    const here = [...at, "States", name];
    const otherThan = (target: unknown): string | undefined => otherState(names, String(target), name);
    const change = (steps: readonly (string | number)[], to: string, edit: (node: Node) => void): AslMutant => {
      const copy = structuredClone(document);
      edit(nodeAt(copy, [...here, ...steps]));
      return { label: `${pathOf([...here, ...steps])}${to}`, document: copy };
    };
    const retarget = function* (
      steps: readonly (string | number)[],
      field: string,
      target: unknown,
    ): Generator<AslMutant> {
      const other = otherThan(target);
      if (other === undefined) return;
      yield change(steps, `.${field}: ${target} -> ${other}`, (node) => {
        node[field] = other;
      });
    };

    if (state["Next"] !== undefined) {
      yield* retarget([], "Next", state["Next"]);
      yield change([], `.Next: ${state["Next"]} -> End`, (node) => {
        delete node["Next"];
        node["End"] = true;
      });
    }
    if (state["Default"] !== undefined) yield* retarget([], "Default", state["Default"]);
    for (const [i, rule] of listOf(state, "Choices").entries()) yield* retarget(["Choices", i], "Next", rule["Next"]);
    for (const [i, catcher] of listOf(state, "Catch").entries()) {
      yield change([], `.Catch[${i}].Next: ${catcher["Next"]} removed`, (node) => removeFrom(node, "Catch", i));
      yield* retarget(["Catch", i], "Next", catcher["Next"]);
    }
    for (const [i, retrier] of listOf(state, "Retry").entries()) {
      yield change([], `.Retry[${i}]: removed`, (node) => removeFrom(node, "Retry", i));
      yield change(["Retry", i], `.ErrorEquals: ${retrier["ErrorEquals"]} -> ${NEVER}`, (node) => {
        node["ErrorEquals"] = [NEVER];
      });
      if (retrier["MaxAttempts"] === 0) continue;
      yield change(["Retry", i], ".MaxAttempts: -> 0", (node) => {
        node["MaxAttempts"] = 0;
      });
    }
    for (const [i, branch] of listOf(state, "Branches").entries()) {
      yield* mutateBlock(document, [...here, "Branches", i], branch);
    }
    const processor = state["ItemProcessor"];
    if (isNode(processor)) yield* mutateBlock(document, [...here, "ItemProcessor"], processor);
  }
}

function otherState(names: readonly string[], target: string, self: string): string | undefined {
  const start = names.indexOf(target) + 1;
  const others = [...names.slice(start), ...names.slice(0, start)].filter((name) => name !== target);
  return others.find((name) => name !== self) ?? others[0];
}

function listOf(state: Node, field: string): readonly Node[] {
  const list = state[field];
  return Array.isArray(list) ? list.filter(isNode) : [];
}

function removeFrom(node: Node, field: string, index: number): void {
  const rest = listOf(node, field).filter((_, i) => i !== index);
  if (rest.length === 0) delete node[field];
  else node[field] = rest;
}

function nodeAt(document: Node, steps: readonly (string | number)[]): Node {
  let value: unknown = document;
  for (const step of steps) value = Array.isArray(value) || isNode(value) ? Reflect.get(value, step) : undefined;
  if (!isNode(value)) throw new TypeError(`nothing at ${pathOf(steps)}`);
  return value;
}

function pathOf(steps: readonly (string | number)[]): string {
  return `$${steps.map((step) => (typeof step === "number" ? `[${step}]` : `.${step}`)).join("")}`;
}
