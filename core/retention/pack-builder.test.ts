import { expect, it } from "vitest";
import { idSchema } from "#core/ids.ts";
import { decodeObject } from "#core/journal/decode.ts";
import { verifyBatch } from "#core/journal/verify-batch.ts";
import { vpgId } from "../../test/kit/batches.ts";
import { Stream } from "../../test/kit/stream.ts";
import { PackBuilder, type ReadUnit, type SeenPart } from "./pack-builder.ts";

it.each([
  ["a write", 4096, 4096, { bytes: new Uint8Array(8192).fill(2) }, 4096],
  ["a zero", 4096, 4096, { zero: 1 << 20 }, 4096],
  ["a write of less than 4 KiB", 512, 512, { bytes: new Uint8Array(1024).fill(2) }, 1024],
] as const)(
  "whole sectors stand for %s that nobody sees, at a pack's end",
  (_name, sectorBytes, offset, last, length) => {
    const stream = new Stream(idSchema.parse(vpgId), { term: 1, session: 1, volumes: [{ volume: 1 }] });
    const read = (sent: ReturnType<Stream["next"]>): ReadUnit => {
      const decoded = decodeObject(sent.body);
      if (decoded.kind !== "batch") throw new Error("no batch");
      const { batch } = sent;
      const unit = {
        ...{ term: 1, session: 1, batch, to: batch + 1, size: sent.body.length, lastSequence: undefined },
      };
      return {
        unit: { ...unit, liveBytes: 0, totalBytes: 1 },
        header: decoded.header,
        object: sent.body,
        lastHash: "",
        checkpoints: 0,
      };
    };
    const seen: SeenPart = { from: 0, to: 8 };
    const builder = new PackBuilder(new Set(), ({ batch }) => (batch === 0 ? seen : undefined));
    builder.add(read(stream.next([{ volume: 1, offset: 0, bytes: new Uint8Array(4096).fill(1) }])));
    builder.add(read(stream.next([{ volume: 1, offset, ...last }])));
    const built = builder.flush();
    if (built === undefined) throw new Error("no pack");
    const volumes = new Map([[1, { sizeBytes: 1 << 22, sectorBytes }]]);
    const header = verifyBatch(built.bytes, { vpgId, term: 1, session: 1, batch: 0, volumes });
    expect(header).toMatchObject({ firstSequence: 1, lastSequence: 2 });
    expect([...header.extents.length]).toEqual([4096, length]);
  },
);
