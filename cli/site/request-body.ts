import type { IncomingMessage } from "node:http";
import { Transient } from "#core/errors.ts";
import { tooLarge } from "../../functions/shared/http.ts";
import { siteLimits as limits } from "./limits.ts";

/** Memory of bodies, of all requests together: a bound, and buffers that are used again. */
export class BodyMemory {
  readonly #free: Buffer[] = [];
  #bytes = 0;

  /** Throws `Transient` when that is too much; the caller gives back what it took. */
  take(bytes: number): void {
    if (this.#bytes + bytes > limits.bodiesBytesMax)
      throw new Transient("the site has too much to take in; come again");
    this.#bytes += bytes;
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
  }

  buffer(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(limits.pooledBodyBytes);
  }

  recycle(buffer: Buffer): void {
    if (this.#free.length < limits.pooledBodiesMax) this.#free.push(buffer);
  }
}

/**
 * One request's body, in memory until `release`. A long one of announced length goes piece by piece into one buffer that later requests
 * use again: kept as pieces and then joined, the pieces outlive V8's young generation, and each 16 MiB of them cost a full collection.
 */
export class RequestBody {
  readonly #memory: BodyMemory;
  #received = 0;
  #whole: Buffer | undefined;

  constructor(memory: BodyMemory) {
    this.#memory = memory;
  }

  /**
   * The bytes, valid until `release`; refused by their announced length before they are read, and by their true length while.
   * Throws `InvalidInput` when there are more than `bytesMax`, `Transient` when memory or the connection ends.
   */
  read(request: IncomingMessage, bytesMax: number): Promise<Uint8Array> {
    const announced = Number(request.headers["content-length"] ?? 0);
    if (announced > bytesMax) throw tooLarge(bytesMax);
    // Taken at the first piece: who announces much and sends nothing holds nothing.
    const pooled = announced > limits.singlePieceBytes && announced <= limits.pooledBodyBytes;
    const pieces: Buffer[] = [];
    const add = (piece: Buffer): void => {
      if (this.#received + piece.length > bytesMax) throw tooLarge(bytesMax);
      this.#memory.take(piece.length);
      if (pooled) {
        this.#whole ??= this.#memory.buffer();
        piece.copy(this.#whole, this.#received);
      } else pieces.push(piece);
      this.#received += piece.length;
    };
    return new Promise((resolve, reject) => {
      request.on("data", (piece: Buffer) => {
        try {
          add(piece);
        } catch (error) {
          request.pause();
          request.removeAllListeners("data");
          reject(error);
        }
      });
      request.on("end", () => resolve(this.#whole?.subarray(0, this.#received) ?? joined(pieces)));
      request.on("error", reject);
      request.on("close", () => reject(new Transient("the connection ended within the body")));
    });
  }

  /** Nobody uses the bytes any more. */
  release(): void {
    this.#memory.give(this.#received);
    this.#received = 0;
    if (this.#whole !== undefined) this.#memory.recycle(this.#whole);
    this.#whole = undefined;
  }
}

function joined(pieces: readonly Buffer[]): Buffer {
  const [only] = pieces;
  return pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces);
}
