import type { Command } from "commander";
import { readBounded } from "#adapters/embedded/read-bounded.ts";
import { sectorBytesMin } from "#core/blocks/geometry.ts";
import { Corrupt } from "#core/errors.ts";
import type { BatchEvent, BatchHeader } from "#core/journal/batch.ts";
import { decodeObject } from "#core/journal/decode.ts";
import { decodeLayerPart, isLayerPart } from "#core/journal/decode-layer.ts";
import { layerPartBytesMax } from "#core/journal/limits.ts";
import { formatPosition } from "#core/journal/position.ts";
import { type VerifyReport, verifyJournal } from "#core/journal/verify-journal.ts";
import { type LayersReport, verifyLayers } from "#core/journal/verify-layers.ts";
import { formatBytes } from "#core/units.ts";
import { contextOf } from "../context.ts";
import { offlineDefinitions, openBucket } from "../offline.ts";
import { columns, fields, type Output, progressLine, result, timeText } from "../output.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

async function verify(output: Output, path: string): Promise<void> {
  const objects = await openBucket(path);
  const reports: (VerifyReport & { readonly name: string; readonly layers: Omit<LayersReport, "problems"> })[] = [];
  for (const { vpgId, definition, damaged } of await offlineDefinitions(objects)) {
    const name = definition?.name ?? vpgId;
    const progress = progressLine(output);
    const report = await verifyJournal(objects, vpgId, ({ batches, bytes }) =>
      progress.update(`${name}: ${batches} batches, ${formatBytes(bytes)}`),
    );
    progress.end();
    const { problems: ofLayers, ...layers } = await verifyLayers(objects, vpgId);
    reports.push({ name, ...report, layers, problems: [...damaged, ...report.problems, ...ofLayers] });
  }
  result(output, reports, () => {
    columns(
      output,
      ["VPG", "SESSIONS", "SEALED", "BATCHES", "BYTES", "CHECKPOINTS", "LAYERS", "VOID OBJECTS", "PROBLEMS"],
      reports.map((report) => [
        report.name,
        String(report.sessions),
        String(report.sealedSessions),
        String(report.batches),
        formatBytes(report.bytes),
        String(report.checkpoints),
        String(report.layers.layers),
        String(report.voidObjects),
        String(report.problems.length),
      ]),
    );
    for (const { problems } of reports) {
      for (const problem of problems) output.line(`${problem.key}: ${problem.error}: ${problem.message}`);
    }
  });
  const problems = reports.reduce((sum, report) => sum + report.problems.length, 0);
  if (problems > 0) throw new Corrupt(`${problems} problems; checkpoints that need those objects cannot be trusted`);
}

/** Everything a batch's header says, as plain values. */
function plainBatch(header: BatchHeader): object {
  const { extents, previousHash, frames, events, ...facts } = header;
  return {
    kind: "batch",
    ...facts,
    previousHash: hex(previousHash),
    events: events.map((event) => ("hash" in event ? { ...event, hash: hex(event.hash) } : event)),
    extents: Array.from({ length: extents.count }, (_, index) => ({
      kind: extents.kind[index] === 1 ? "write" : "zero",
      volume: extents.volume[index],
      sequence: header.firstSequence + (extents.sequenceDelta[index] ?? 0),
      offset: extents.offset[index],
      length: extents.length[index],
      frame: extents.frame[index],
      frameOffset: extents.frameOffset[index],
    })),
    frames,
  };
}

function detailOf(event: BatchEvent): string {
  switch (event.kind) {
    case "marker":
      return ` ${timeText(event.time)} ${event.tag}`;
    case "hold":
      return ` ${timeText(event.time)}`;
    case "barrier":
      return ` ${timeText(event.time)} of ${event.vector.map(formatPosition).join(" ")} ${event.tag}`;
    default:
      return "";
  }
}

/** Everything a part of a layer says, as plain values. */
function plainLayerPart({ header, sections }: ReturnType<typeof decodeLayerPart>): object {
  return {
    kind: "layer",
    ...header,
    sections: header.sections.map((place, at) => {
      const { extents, sources = [] } = sections[at] ?? {};
      return {
        ...place,
        sources,
        extents: Array.from({ length: extents?.count ?? 0 }, (_, index) => ({
          kind: extents?.kind[index] === 1 ? "write" : "zero",
          source: extents?.source[index],
          sequenceDelta: extents?.sequenceDelta[index],
          offset: (extents?.sector[index] ?? 0) * sectorBytesMin,
          length: (extents?.sectors[index] ?? 0) * sectorBytesMin,
          frame: extents?.frame[index],
          frameOffset: extents?.frameOffset[index],
        })),
      };
    }),
  };
}

function dumpLayerPart(output: Output, bytes: Uint8Array): void {
  const decoded = decodeLayerPart(bytes);
  const { header } = decoded;
  result(output, plainLayerPart(decoded), () => {
    fields(output, [
      ["Layer", `part ${header.part} of ${header.layerId}, VPG ${header.vpgId}`],
      ["Stored", `${formatBytes(header.objectLength)}, header ${formatBytes(header.headerLength)}`],
      ["Sections", String(header.sections.length)],
      ["Writes and zeros", String(header.sections.reduce((sum, { extentCount }) => sum + extentCount, 0))],
    ]);
    for (const { volume, firstChunk, lastChunk, extentCount, sourceCount } of header.sections) {
      output.line(`volume ${volume} chunks ${firstChunk} to ${lastChunk}: ${extentCount} of ${sourceCount} batches`);
    }
  });
}

function dump(output: Output, file: string): void {
  const bytes = readBounded(file, "The journal object", layerPartBytesMax);
  if (isLayerPart(bytes)) {
    dumpLayerPart(output, bytes);
    return;
  }
  const decoded = decodeObject(bytes);
  if (decoded.kind === "seal") {
    const plain = { kind: "seal", ...decoded.seal };
    result(output, plain, () =>
      fields(
        output,
        Object.entries(plain).map(([name, value]) => [name, String(value)] as const),
      ),
    );
    return;
  }
  const { header } = decoded;
  result(output, plainBatch(header), () => {
    fields(output, [
      ["Batch", `${header.batch} of session ${header.session}, term ${header.term}, VPG ${header.vpgId}`],
      ["Sequences", `${header.firstSequence} to ${header.lastSequence}`],
      ["Source time", `${timeText(header.sourceTimeFirst)} to ${timeText(header.sourceTimeLast)}`],
      ["Previous batch", hex(header.previousHash)],
      ["Stored", `${formatBytes(header.objectLength)}, header ${formatBytes(header.headerLength)}`],
      ["Writes and zeros", String(header.extents.count)],
      ["Frames", header.frames.map((frame) => `${frame.codec} ${frame.storedLength}/${frame.rawLength}`).join(", ")],
    ]);
    for (const event of header.events) {
      output.line(`${event.sequence}: ${event.kind}${detailOf(event)}`);
    }
  });
}

export function registerJournal(program: Command): void {
  const journal = program.command("journal").description("Look into a journal on disk; needs no site.");
  journal
    .command("verify")
    .argument("<path>", "a site's data directory, or its objects folder")
    .description("Read and check every byte of every VPG's journal.")
    .addHelpText("after", "\nExample:\n  farshore journal verify /srv/farshore/berlin\n")
    .action((path: string, _options: unknown, command: Command) => verify(contextOf(command).output, path));
  journal
    .command("dump")
    .argument("<file>", "one object below objects/journal/ or objects/layers/")
    .description("Show what a batch, a seal or a part of a layer says (--json: every record).")
    .addHelpText("after", "\nExample:\n  farshore journal dump --json FILE\n")
    .action((file: string, _options: unknown, command: Command) => dump(contextOf(command).output, file));
}
