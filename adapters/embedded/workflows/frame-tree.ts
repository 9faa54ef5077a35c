import { event, type Frame, type NewEvent } from "./frame.ts";
import type { Json } from "./json.ts";

/** The frames of one execution: the root and, below Map and Parallel states, their iterations and branches. */
export class FrameTree {
  readonly #frames = new Map<number, Frame>();
  #lastId = 0;

  constructor(frames: readonly Frame[]) {
    for (const frame of frames) this.add(frame);
  }

  get(id: number): Frame | undefined {
    return this.#frames.get(id);
  }

  all(): readonly Frame[] {
    return [...this.#frames.values()];
  }

  nextId(): number {
    return this.#lastId + 1;
  }

  add(frame: Frame): void {
    this.#frames.set(frame.id, frame);
    this.#lastId = Math.max(this.#lastId, frame.id);
  }

  delete(frame: Frame): void {
    this.#frames.delete(frame.id);
  }

  childrenOf(frame: Frame): readonly Frame[] {
    return this.all().filter((child) => child.parent === frame.id);
  }

  /** Everything below the frame, deepest first. */
  below(frame: Frame): readonly Frame[] {
    return this.childrenOf(frame).flatMap((child) => [...this.below(child), child]);
  }

  /** The item of the innermost Map iteration that the frame is part of. */
  itemOf(frame: Frame): { readonly index: number; readonly value: Json } | undefined {
    if (frame.item !== undefined) return { index: frame.index, value: frame.item };
    const parent = this.#parentOf(frame);
    return parent === undefined ? undefined : this.itemOf(parent);
  }

  /** The event of a Map iteration; a Parallel branch and the root have none. */
  iterationEvent(frame: Frame, what: "Started" | "Succeeded" | "Failed" | "Aborted"): readonly NewEvent[] {
    const parent = this.#parentOf(frame);
    if (parent === undefined || frame.item === undefined) return [];
    return [event(`MapIteration${what}`, parent.state, { index: frame.index })];
  }

  #parentOf(frame: Frame): Frame | undefined {
    return frame.parent === undefined ? undefined : this.#frames.get(frame.parent);
  }
}
