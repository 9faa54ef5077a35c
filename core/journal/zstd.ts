import { constants, createZstdCompress, createZstdDecompress, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { frameBytesMax } from "./limits.ts";

/**
 * One zstd frame after the other into memory of the caller's. Node's one-shot calls make a context and one or two output buffers for every
 * frame, and V8 begins a full collection for each 16 MiB of such buffers: kept, compressing takes 15 to 25 % less CPU and decompressing
 * 40 % less, before what the collections cost a process with a heap of its own. `_processChunk` of Node's zlib streams "is left for
 * backwards compatibility", and npm unpacks with it (minizlib) in the way it is used here. Where it is absent, the one-shot calls do
 * the same: the bytes are the same either way.
 */
export interface ZstdCoder {
  /**
   * Codes the whole of `input`, at most `frameBytesMax` of raw bytes, into the start of `output`; returns the bytes written, undefined
   * when the input is wrong or not one whole frame. Room: one byte more than is written, for compressing `compressBound`.
   */
  code(input: Uint8Array, output: Uint8Array): number | undefined;
}

/** More than `length` bytes can compress to (ZSTD_COMPRESSBOUND of zstd.h). */
export function compressBound(length: number): number {
  return length + (length >>> 8) + 128;
}

export function zstdCompressor(level: number): ZstdCoder {
  const params = { [constants.ZSTD_c_compressionLevel]: level };
  return new KeptCoder(
    () => createZstdCompress({ ...streamOptions, params }),
    (input, room) => zstdCompressSync(input, { chunkSize: room, pledgedSrcSize: input.length, params }),
  );
}

export function zstdDecompressor(): ZstdCoder {
  return new KeptCoder(
    () => createZstdDecompress(streamOptions),
    (input, room) =>
      zstdDecompressSync(input, { chunkSize: Math.max(room, streamOptions.chunkSize), maxOutputLength: room - 1 }),
  );
}

/** Node's least for a stream's own buffer, which is never used, and a bound on what a frame that lies about its length may fill. */
const streamOptions = { chunkSize: 64, maxOutputLength: compressBound(frameBytesMax) };

type Stream = ReturnType<typeof createZstdCompress> | ReturnType<typeof createZstdDecompress>;

/** A stream whose context outlives its calls, with the two parts of it that Node doesn't document. */
interface Kept {
  readonly stream: Stream;
  readonly handle: object;
  readonly processChunk: (input: Uint8Array, flush: number) => unknown;
}

class KeptCoder implements ZstdCoder {
  readonly #open: () => Stream;
  readonly #oneShot: (input: Uint8Array, room: number) => Uint8Array;
  #kept: Kept | undefined;

  constructor(open: () => Stream, oneShot: (input: Uint8Array, room: number) => Uint8Array) {
    this.#open = open;
    this.#oneShot = oneShot;
  }

  code(input: Uint8Array, output: Uint8Array): number | undefined {
    this.#kept ??= keep(this.#open());
    const kept = this.#kept;
    try {
      if (kept === undefined) {
        const coded = this.#oneShot(input, output.length);
        output.set(coded);
        return coded.length;
      }
      const coded = codeChunk(kept, input, output);
      // Elsewhere than in the output: it did not suffice.
      const whole = coded.buffer === output.buffer && kept.stream.bytesWritten === input.length;
      if (whole) return coded.length;
    } catch {
      // Not zstd, or longer than it may be.
    }
    // The context may stand within a frame; the collector takes it.
    this.#kept = undefined;
    return undefined;
  }
}

/** Undefined when the stream isn't made as it is known to be. */
function keep(stream: Stream): Kept | undefined {
  const handle: unknown = Reflect.get(stream, "_handle");
  const processChunk: unknown = Reflect.get(stream, "_processChunk");
  if (typeof handle !== "object" || handle === null || typeof processChunk !== "function") return undefined;
  // Each call closes the handle when it is done: not this one.
  Reflect.set(handle, "close", () => undefined);
  return { stream, handle, processChunk: (input, flush) => Reflect.apply(processChunk, stream, [input, flush]) };
}

function codeChunk({ stream, handle, processChunk }: Kept, input: Uint8Array, output: Uint8Array): Uint8Array {
  Reflect.set(stream, "_handle", handle);
  Reflect.set(stream, "_outBuffer", Buffer.from(output.buffer, output.byteOffset, output.byteLength));
  Reflect.set(stream, "_chunkSize", output.length);
  // Each call adds a listener; an error is also thrown, and is emitted later to those who are left.
  stream.removeAllListeners("error");
  stream.on("error", () => undefined);
  const coded = processChunk(input, constants.ZSTD_e_end);
  if (!(coded instanceof Uint8Array)) throw new TypeError("zlib gave no bytes");
  return coded;
}
