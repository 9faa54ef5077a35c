import { randomBytes } from "node:crypto";
import type { Random } from "#core/ports.ts";

/** The operating system's randomness, fit for secrets. */
export class SystemRandom implements Random {
  bytes(length: number): Uint8Array {
    return Uint8Array.from(randomBytes(length));
  }
}
