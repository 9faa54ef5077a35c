/** Something that must never be. The name says which invariant (design) it breaks, or that the program itself failed. */
export class Violation extends Error {
  readonly invariant: Invariant;

  constructor(invariant: Invariant, message: string) {
    super(`${invariant}: ${message}`);
    this.name = "Violation";
    this.invariant = invariant;
  }
}

export type Invariant =
  | "exact"
  | "durable before listed"
  | "independent"
  | "one writer"
  | "move loses nothing"
  | "undo"
  | "pins"
  | "deleted in time"
  | "false alarm"
  | "liveness"
  | "program fault";
