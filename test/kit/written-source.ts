import { expect } from "vitest";
import type { OpenSession } from "#core/api/gateway-api.ts";
import type { Id } from "#core/ids.ts";
import { formatPosition, type Position } from "#core/journal/position.ts";
import type { Log } from "#core/ports.ts";
import { ingestBatch } from "#core/protection/ingest.ts";
import { assertListed, listBatches, readJournalObject } from "#core/protection/journal-reads.ts";
import { openSession } from "#core/protection/open-session.ts";
import { TableJournal } from "#core/protection/table-journal.ts";
import type { VpgRecord } from "#core/protection/vpg-store.ts";
import { JournalReader } from "#core/recovery/journal-reader.ts";
import type { JournalSource } from "#core/recovery/journal-source.ts";
import { View } from "#core/recovery/view.ts";
import type { Caller, Site } from "#core/site.ts";
import { type BatchPage, HttpJournal } from "../../gateway/export/http-journal.ts";
import type { SeededRandom } from "./seeded-random.ts";
import { openAsk } from "./site.ts";
import { type SampleWrite, type SampleZero, Stream } from "./stream.ts";

export interface Instant {
  readonly position: Position;
  /** Volume to its first bytes, where all writes go, by plain replay. */
  readonly images: ReadonlyMap<number, Buffer>;
}

/** One that a source has written. */
export interface WrittenInstant extends Instant {
  readonly time: number;
}

/** A chunk and a bit at the start of each volume take all writes: many versions of few places. */
const imageBytes = 512 * 1024 + 64 * 1024;

interface SourceOptions {
  readonly vpgId: Id;
  readonly caller: Caller;
  readonly random: SeededRandom;
  /** Its clock, which then is moved to before each batch; by default 5 s more each time. */
  readonly nextTime?: () => Promise<number>;
  /** What it offers when it opens a session. */
  readonly volumes: OpenSession["volumes"];
}

/** A source gateway that writes, zeros and checkpoints at random, with what every checkpoint and hold must show. */
export class WrittenSource {
  readonly instants: WrittenInstant[] = [];
  #site: Site;
  readonly #options: SourceOptions;
  readonly #images = new Map<number, Buffer>();
  #opened: Stream | undefined;
  #time = Date.UTC(2030, 0, 1, 12);

  constructor(site: Site, options: SourceOptions) {
    this.#site = site;
    this.#options = options;
  }

  /** Sends to another process of the site from now on. */
  moveTo(site: Site): void {
    this.#site = site;
  }

  async open(): Promise<void> {
    const { vpgId, caller, volumes } = this.#options;
    const { session: lastSession = 0, batch = 0 } = this.#opened ?? {};
    const ask = openAsk(this.#site, vpgId, { lastSession, acknowledgedBatch: batch - 1, volumes });
    this.#opened = new Stream(vpgId, await openSession(this.#site, caller, ask));
    for (const { volume } of this.#opened.volumes) {
      if (!this.#images.has(volume)) this.#images.set(volume, Buffer.alloc(imageBytes));
    }
    await ingestBatch(this.#site, caller, this.#opened.synced());
  }

  async write(batches: number): Promise<void> {
    for (let count = 0; count < batches; count += 1) {
      const marked = this.#options.random.chance(0.6);
      this.#time = (await this.#options.nextTime?.()) ?? this.#time + 5000;
      await this.#send(marked ? [{ kind: "marker", time: this.#time, tag: "" }] : []);
      if (marked) this.#remember();
    }
  }

  /** Some writes and a hold; its place, which is an instant too. */
  async hold(): Promise<Position> {
    await this.#send([{ kind: "hold", time: this.#time }]);
    return this.#remember();
  }

  /** The barrier of a coordinator; its id. */
  async barrier(vector: readonly Position[]): Promise<string> {
    this.#time = (await this.#options.nextTime?.()) ?? this.#time + 1000;
    const ordered = vector.toSorted((one, other) => one.session - other.session);
    await this.#send([{ kind: "barrier", time: this.#time, tag: "", vector: ordered }]);
    return formatPosition(this.#position());
  }

  async #send(events: Parameters<Stream["next"]>[1] = []): Promise<void> {
    const { random, caller } = this.#options;
    const writes = Array.from({ length: random.below(12) + (events.length > 0 ? 0 : 1) }, () => this.#write());
    await ingestBatch(this.#site, caller, this.#stream().next(writes, events, this.#time));
  }

  #remember(): Position {
    const images = new Map([...this.#images].map(([volume, image]) => [volume, Buffer.from(image)]));
    const position = this.#position();
    this.instants.push({ position, time: this.#time, images });
    return position;
  }

  #write(): SampleWrite | SampleZero {
    const { random } = this.#options;
    const { volumes } = this.#stream();
    const volume = volumes[random.below(volumes.length)]?.volume ?? 0;
    const sectors = imageBytes / 512;
    const first = random.below(random.chance(0.5) ? 40 : sectors);
    const [offset, length] = [first * 512, Math.min(1 + random.below(48), sectors - first) * 512];
    const image = this.#images.get(volume) ?? Buffer.alloc(0);
    if (random.chance(0.2)) {
      image.fill(0, offset, offset + length);
      return { volume, offset, zero: length };
    }
    const bytes = Buffer.alloc(length, random.bytes(600));
    bytes.copy(image, offset);
    return { volume, offset, bytes };
  }

  #stream(): Stream {
    if (this.#opened === undefined) throw new Error("no session");
    return this.#opened;
  }

  #position(): Position {
    const { session, sequence } = this.#stream();
    return { session, sequence };
  }
}

export function viewsOf(source: JournalSource, { definition }: VpgRecord, { position: upTo, images }: Instant): View[] {
  const reader = new JournalReader(source);
  const volumes = definition.vms.flatMap((vm) => vm.volumes).filter(({ volume }) => images.has(volume));
  return volumes.map(({ volume, sizeBytes }) => new View({ reader, volume, sizeBytes, upTo }));
}

export async function expectViews(views: readonly View[], { images, position }: Instant): Promise<void> {
  expect(views).toHaveLength(images.size);
  for (const view of views) {
    const read = Buffer.alloc(imageBytes, 0xee);
    await view.read(0, read);
    const same = Buffer.compare(read, images.get(view.volume) ?? Buffer.alloc(0)) === 0;
    expect(same, `volume ${view.volume} at ${formatPosition(position)}`).toBe(true);
  }
}

/** As a recovery gateway reads a checkpoint. */
export function overHttp(
  site: Site,
  vpg: VpgRecord,
  upTo: Position,
  log: Pick<Log, "warn"> = site.log,
  shown: { readonly checkpoint?: string } = {},
): JournalSource {
  const routes = {
    batches: async (_: string, to: Position, page: BatchPage) => {
      const listed = await listBatches(site, vpg, to, page);
      if (page.checkpoint !== undefined) await assertListed(site, vpg, page.checkpoint);
      return listed;
    },
    object: (_: string, key: string, range?: Parameters<typeof readJournalObject>[3]) =>
      readJournalObject(site, vpg, key, range),
  };
  return new HttpJournal({ routes, vpgId: vpg.vpgId, upTo, clock: site.clock, random: site.random, log, ...shown });
}

/** About `most` of the instants, the first and the last among them, as the site reads them and as a recovery gateway does. */
export async function expectInstants(
  site: Site,
  vpg: VpgRecord,
  { instants }: { readonly instants: readonly Instant[] },
  most = 12,
): Promise<void> {
  const journal = new TableJournal(site, vpg.vpgId);
  const step = Math.max(1, Math.floor(instants.length / most));
  for (const [index, instant] of instants.entries()) {
    if (index % step !== 0 && index < instants.length - 2) continue;
    for (const source of [journal, overHttp(site, vpg, instant.position)]) {
      await expectViews(viewsOf(source, vpg, instant), instant);
    }
  }
}
