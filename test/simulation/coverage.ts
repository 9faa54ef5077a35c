/** Which faults came upon which states, how often. */
export class Coverage {
  readonly #counts = new Map<string, Map<string, number>>();

  met(state: string, fault: string): void {
    const row = this.#counts.get(state) ?? new Map<string, number>();
    this.#counts.set(state, row);
    row.set(fault, (row.get(fault) ?? 0) + 1);
  }

  /** A state that was seen, whether or not a fault came. */
  saw(state: string): void {
    if (!this.#counts.has(state)) this.#counts.set(state, new Map());
  }

  add(other: Coverage): void {
    for (const [state, row] of other.#counts) {
      this.saw(state);
      for (const [fault, count] of row) for (let each = 0; each < count; each += 1) this.met(state, fault);
    }
  }

  /** How often a fault came upon any state. */
  countOf(fault: string): number {
    return [...this.#counts.values()].reduce((sum, row) => sum + (row.get(fault) ?? 0), 0);
  }

  get faults(): number {
    return [...this.#counts.values()].flatMap((row) => [...row.values()]).reduce((sum, count) => sum + count, 0);
  }

  /** A row a state, a column a fault; below it the pairs that never met. */
  table(faults: readonly string[]): string {
    const states = [...this.#counts.keys()].sort();
    const wide = Math.max(5, ...states.map((state) => state.length));
    const line = (name: string, cells: readonly string[]): string =>
      [name.padEnd(wide), ...cells.map((cell, index) => cell.padStart(faults[index]?.length ?? 0))].join("  ");
    const count = (state: string, fault: string): number => this.#counts.get(state)?.get(fault) ?? 0;
    const rows = states.map((state) =>
      line(
        state,
        faults.map((fault) => String(count(state, fault) || "·")),
      ),
    );
    const empty = states.flatMap((state) => {
      const missing = faults.filter((fault) => count(state, fault) === 0);
      return missing.length === 0 ? [] : [`${state}: ${missing.join(", ")}`];
    });
    const never = empty.length === 0 ? ["Every fault met every state."] : ["Never met:", ...empty];
    return [line("state", faults), ...rows, "", ...never].join("\n");
  }
}
