import { NoCheckpoint } from "#core/errors.ts";
import type { BarrierEvent, BatchEvent } from "#core/journal/batch.ts";
import { writeBytesMax, zeroBytesMax } from "#core/journal/limits.ts";
import { comparePositions, type Position } from "#core/journal/position.ts";
import type { Clock } from "#core/ports.ts";
import type { Piece } from "#core/sync/pieces.ts";
import { lowWaterShare, syncQueueBytesMax, syncShare } from "../limits.ts";
import { Backlog } from "./backlog.ts";
import { ChangeSignal } from "./change-signal.ts";
import { OpenSegment, type SegmentBuffers } from "./segment.ts";
import type { ChainHead, LogMode, LogSession, SegmentSink, SessionStart } from "./session-types.ts";
import type { Tap } from "./tap.ts";
import type { VolumeTrack } from "./volume-track.ts";
import { VolumeTracks } from "./volume-tracks.ts";

interface CurrentSession extends LogSession {
  readonly sink: SegmentSink;
  readonly backlog: Backlog;
}

/**
 * One VPG's writes on this gateway as one sequence: the tap of all its volumes. It journals while it has a session, room and no
 * pause; otherwise it marks chunks as suspects, and a sync (gateway/sync/) settles them later. It never waits and never throws
 * at a guest's write (R1, R6).
 */
export class SessionLog implements Tap {
  readonly changes = new ChangeSignal();
  /** What they are compared with and suspected of; they come and go between sessions. */
  readonly volumes: VolumeTracks;
  readonly #clock: Clock;
  readonly #bufferBytes: number;
  #session: CurrentSession | undefined;
  #open: OpenSegment | undefined;
  #batches = 0;
  #lastSequence = 0;
  #appendedSinceMarker = false;
  /** Sequence of the newest hold, 0 before the first. */
  #holdSequence = 0;
  #heldSinceFlush = false;
  #paused = false;
  #overflowed = false;
  #fenced = false;
  #closed = false;
  /** Only suspects are marked: the session is about to be followed by another one. */
  #suspended = false;
  #head: ChainHead | undefined;
  #writes = 0;
  #writtenBytes = 0;

  constructor(options: { readonly sizes: readonly number[]; readonly bufferBytes: number; readonly clock: Clock }) {
    this.volumes = new VolumeTracks(options.sizes);
    this.#bufferBytes = options.bufferBytes;
    this.#clock = options.clock;
  }

  // --- what the disks tell (gateway/disk/tapped-device.ts); `volume` is the index of a track ---

  write(volume: number, offset: number, bytes: Uint8Array): void {
    this.#writes += 1;
    this.#writtenBytes += bytes.length;
    this.#write(this.#track(volume), offset, bytes);
  }

  zero(volume: number, offset: number, length: number): void {
    this.#writes += 1;
    this.#writtenBytes += length;
    this.#zero(this.#track(volume), offset, length);
  }

  distrust(volume: number, offset: number, length: number): void {
    const track = this.#track(volume);
    track.suspect(offset, length);
    this.#beginSyncs();
    this.changes.fire();
  }

  get tracks(): readonly VolumeTrack[] {
    return this.volumes.tracks;
  }

  // --- session ---

  /** Begins to journal. A volume that does not continue is wholly suspect, and its sync-begin is the session's first record. */
  attach(session: LogSession, sink: SegmentSink, start: SessionStart): void {
    if (this.#session !== undefined) throw new TypeError("a session is attached already");
    this.#session = { ...session, sink, backlog: new Backlog(this.#bufferBytes) };
    this.#batches = 0;
    this.#lastSequence = 0;
    this.#holdSequence = 0;
    this.#overflowed = false;
    this.#closed = false;
    this.#suspended = false;
    this.#head = undefined;
    this.#writes = 0;
    this.#writtenBytes = 0;
    this.volumes.begin(session.journalVolumes, start);
    // A session that continues has a checkpoint of its own from its first moment.
    this.#appendedSinceMarker = true;
    this.#beginSyncs();
    this.flush();
    this.changes.fire();
  }

  /** The session is lost: nothing is journaled, and everything is suspect until another one begins. */
  detach(): void {
    this.#session = undefined;
    this.#open = undefined;
    this.volumes.distrust();
    this.changes.fire();
  }

  /** From here on only suspects are marked; when all before is acknowledged, `leave` and the next session go on from there. */
  suspend(): void {
    this.cut();
    this.#suspended = true;
    this.changes.fire();
  }

  /**
   * Takes leave of a session that `final`, `close` or `suspend` ended. When the site has all of it nothing becomes suspect that isn't:
   * the session that follows goes on from there.
   */
  leave(): void {
    const whole =
      (this.#closed || this.#suspended) && this.#session?.backlog.acknowledgedSequence === this.#lastSequence;
    if (!whole) this.detach();
    else if (this.#suspended && this.lastPosition !== undefined) this.volumes.leave(this.lastPosition);
    this.#session = undefined;
    this.changes.fire();
  }

  /** Somebody else has the VPG now: nothing is journaled any more in this process's life. */
  fence(): void {
    this.#fenced = true;
    this.detach();
  }

  /** By order of an operator: only suspects are marked until it ends, then they are synced. */
  setPaused(paused: boolean): void {
    if (this.#paused === paused) return;
    if (paused) this.cut();
    this.#paused = paused;
    this.#beginSyncs();
    this.changes.fire();
  }

  get session(): LogSession | undefined {
    return this.#session;
  }

  get lastPosition(): Position | undefined {
    return this.#session === undefined ? undefined : { session: this.#session.session, sequence: this.#lastSequence };
  }

  get journaling(): boolean {
    return (
      this.#session !== undefined &&
      !this.#paused &&
      !this.#overflowed &&
      !this.#fenced &&
      !this.#closed &&
      !this.#suspended
    );
  }

  /** Nothing on the disks is unlike the journal: a checkpoint would be valid. */
  get whole(): boolean {
    return this.journaling && !this.syncing;
  }

  get syncing(): boolean {
    return this.tracks.some((track) => track.syncing);
  }

  get mode(): LogMode {
    if (this.#fenced) return "fenced";
    if (this.#session === undefined) return "no-session";
    if (this.#closed) return "closed";
    if (this.#paused) return "paused";
    if (this.#overflowed || this.#suspended) return "dirty";
    const labels = this.tracks.flatMap((track) => (track.syncing ? track.label : []));
    return labels.find((label) => label === "initial-sync") ?? labels[0] ?? "replicating";
  }

  get backlog(): Backlog | undefined {
    return this.#session?.backlog;
  }

  /** Everything appended is acknowledged, and nothing is syncing, dirty or paused: a checkpoint's validity may be extended. */
  get idle(): boolean {
    const backlog = this.#session?.backlog;
    return (
      this.journaling &&
      !this.syncing &&
      !this.#appendedSinceMarker &&
      backlog?.acknowledgedSequence === this.#lastSequence
    );
  }

  get statistics(): { readonly writes: number; readonly writtenBytes: number; readonly lagMs: number } {
    const lagMs = this.#session?.backlog.lagMs(this.#open?.firstAt, this.#clock.monotonic()) ?? 0;
    return { writes: this.#writes, writtenBytes: this.#writtenBytes, lagMs };
  }

  // --- cuts and markers ---

  /**
   * Called once a checkpoint interval: a marker if anything was appended since the last, or only a cut while a sync runs, or where
   * barriers make the checkpoints and none did it.
   */
  flush(): void {
    if (!this.journaling) return;
    const own = this.#marks;
    const cutOnly = this.syncing || (!own && !this.#heldSinceFlush);
    this.#heldSinceFlush = false;
    if (cutOnly) this.cut();
    else if (!own) return;
    else if (this.#appendedSinceMarker) this.#mark("");
  }

  /** Puts a tagged marker into the stream now; it is a checkpoint once acknowledged. Throws `NoCheckpoint` while none can be valid. */
  tag(tag: string): Position {
    const marked = this.whole && this.#mark(tag);
    const position = this.lastPosition;
    if (!marked || position === undefined) {
      throw new NoCheckpoint(
        `No checkpoint can be made while replication is in mode "${this.mode}"; ask again when "farshore status" shows it replicating`,
        { mode: this.mode },
      );
    }
    return position;
  }

  /**
   * R11: everything appended so far stands at or before the position that is answered, which a barrier may name; undefined while no
   * checkpoint can be valid. Whoever asks withholds acknowledgements before.
   */
  hold(): Position | undefined {
    if (!this.whole || this.#session === undefined) return undefined;
    if (this.#appendedSinceMarker || this.#holdSequence === 0) {
      const time = this.#clock.now();
      if (!this.#event((sequence) => ({ kind: "hold", sequence, time }))) return undefined;
      this.#holdSequence = this.#lastSequence;
      this.#appendedSinceMarker = false;
      this.cut();
    }
    this.#heldSinceFlush = true;
    return { session: this.#session.session, sequence: this.#holdSequence };
  }

  /** Appends the coordinator's record of a barrier that held; `heldAt` is the monotonic clock at its instant, from which its age counts. */
  barrier(barrier: Omit<BarrierEvent, "kind" | "sequence">, heldAt: number): Position | undefined {
    const appended = this.#appendedSinceMarker;
    if (!this.journaling || !this.#event((sequence) => ({ kind: "barrier", sequence, ...barrier }))) return undefined;
    // It changes nothing on the disks: what stood still goes on standing still.
    this.#appendedSinceMarker = appended;
    this.cut(heldAt);
    return this.lastPosition;
  }

  /** Seals the open segment and hands it on. */
  cut(lastAt = this.#clock.monotonic()): void {
    const segment = this.#open;
    const session = this.#session;
    if (segment === undefined || session === undefined) return;
    this.#open = undefined;
    const { sealed, kept } = segment.seal(this.#clock.now(), lastAt);
    session.backlog.sealed(sealed, segment.firstAt, kept);
    session.sink.push(sealed);
  }

  /**
   * The clean end: a marker where they make the checkpoints, then the close record; false, with only a cut, when the journal lacks something, so that no close
   * may be said. The guests must be gone before.
   */
  close(): boolean {
    const { whole } = this;
    const marked = whole && (!this.#marks || !this.#appendedSinceMarker || this.#mark(""));
    const closed = marked && this.#event((sequence) => ({ kind: "close", sequence }));
    this.cut();
    this.#closed = true;
    this.changes.fire();
    return closed;
  }

  /**
   * The end that a move asks for: a checkpoint of all that was written, then FINAL as the session's last record; its position, or
   * undefined when the journal lacks something. Where barriers make the checkpoints the coordinator's names the FINALs of the
   * others, and theirs have none before them. The guests must be gone before, of all gateways.
   */
  final(operationId: string, others: readonly Position[] = []): Position | undefined {
    if (!this.whole) return undefined;
    const tag = `Final of ${operationId}`;
    const marks = this.#session?.checkpoints !== "barriers";
    const marked = marks ? this.#mark(tag) : others.length === 0 || this.#lastBarrier(tag, others);
    const hash = new Uint8Array(32);
    if (!marked || !this.#event((sequence) => ({ kind: "final", sequence, operationId, hash }))) return undefined;
    this.cut();
    this.#closed = true;
    this.changes.fire();
    return this.lastPosition;
  }

  #lastBarrier(tag: string, others: readonly Position[]): boolean {
    const held = this.hold();
    if (held === undefined) return false;
    const vector = [...others, held].sort(comparePositions);
    return this.barrier({ time: this.#clock.now(), tag, vector }, this.#clock.monotonic()) !== undefined;
  }

  /** Of the newest batch that was encoded. */
  get head(): ChainHead | undefined {
    return this.#head;
  }

  // --- what the shipper tells ---

  encoded(batch: number, storedBytes: number, buffers: SegmentBuffers, hash: Uint8Array): void {
    this.#session?.backlog.encoded(batch, storedBytes, buffers);
    this.#head = { batch, hash };
    this.#roomCame();
  }

  acknowledged(batch: number): void {
    this.#session?.backlog.acknowledged(batch);
    this.#roomCame();
  }

  // --- what the sync asks and does ---

  /** False while a sync should leave the buffer and the encoder to the guests. */
  get syncMayProceed(): boolean {
    const backlog = this.#session?.backlog;
    return (
      this.journaling &&
      backlog !== undefined &&
      backlog.unacknowledgedBytes <= this.#bufferBytes * syncShare &&
      backlog.rawBytes <= syncQueueBytesMax
    );
  }

  /**
   * Appends what the target lacks of a suspect chunk, and settles the chunk; synchronously, so that no guest's write comes
   * between. `revision` is the track's from before the chunk was read: if suspicion was added since, the comparison is void.
   * Returns false when the chunk stays a suspect.
   */
  settleChunk(
    track: VolumeTrack,
    chunk: number,
    revision: number,
    start: number,
    bytes: Uint8Array,
    pieces: readonly Piece[],
  ): boolean {
    if (!this.journaling || track.revision !== revision) return false;
    for (const piece of pieces) {
      if (piece.zero) this.#zero(track, start + piece.start, piece.length);
      else this.#write(track, start + piece.start, bytes.subarray(piece.start, piece.start + piece.length));
    }
    // An overflow on the way made the rest a suspect again.
    if (!this.journaling || track.revision !== revision) return false;
    track.suspects.delete(chunk);
    return true;
  }

  /** Every chunk is compared again, in this very session; the guests' writes go on being journaled. */
  resync(): void {
    for (const track of this.tracks) track.suspectAll();
    this.#beginSyncs();
    for (const track of this.tracks) track.label = "delta-sync";
    this.changes.fire();
  }

  /**
   * Settles suspects that the journal was found to hold, `chunks` counted from `first`. `revision` is the track's from before
   * they were read: what was written since is appended by itself, and where it could not be, the revision is another. False then.
   */
  dropSuspects(track: VolumeTrack, first: number, chunks: readonly number[], revision: number): boolean {
    if (!this.journaling || !track.syncing || track.revision !== revision) return false;
    for (const chunk of chunks) track.suspects.delete(first + chunk);
    return true;
  }

  /** Ends the volume's sync if nothing is suspect; the first checkpoint after the last one's end follows at once. */
  endSync(track: VolumeTrack): boolean {
    if (!this.journaling || !track.syncing || track.suspects.count > 0) return false;
    const said =
      this.#session?.checkpoints === "none" ||
      this.#event((sequence) => ({ kind: "sync-end", sequence, volume: track.journalVolume }));
    if (!said) return false;
    track.syncing = false;
    this.flush();
    this.changes.fire();
    return true;
  }

  // --- inside ---

  /** Its own markers make the session's checkpoints. */
  get #marks(): boolean {
    return (this.#session?.checkpoints ?? "markers") === "markers";
  }

  #track(volume: number): VolumeTrack {
    const track = this.volumes.at(volume);
    if (track === undefined) throw new TypeError(`there is no volume ${volume}`);
    return track;
  }

  #write(track: VolumeTrack, offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; done += writeBytesMax) {
      const length = Math.min(writeBytesMax, bytes.length - done);
      const segment = this.#room(length);
      if (segment === undefined) {
        track.suspect(offset + done, bytes.length - done);
        return;
      }
      const piece = length === bytes.length ? bytes : bytes.subarray(done, done + length);
      segment.write(this.#next(), track.journalVolume, offset + done, piece);
    }
  }

  #zero(track: VolumeTrack, offset: number, length: number): void {
    for (let done = 0; done < length; done += zeroBytesMax) {
      const segment = this.#room(0);
      if (segment === undefined) {
        track.suspect(offset + done, length - done);
        return;
      }
      segment.zero(this.#next(), track.journalVolume, offset + done, Math.min(zeroBytesMax, length - done));
    }
  }

  /** False when there was no room, and so no journaling any more. */
  #event(make: (sequence: number) => BatchEvent): boolean {
    if (this.#open?.hasRoomForEvent() === false) this.cut();
    const segment = this.#open ?? this.#room(0);
    if (segment === undefined) return false;
    segment.event(make(this.#next()));
    return true;
  }

  #mark(tag: string): boolean {
    const time = this.#clock.now();
    if (!this.#event((sequence) => ({ kind: "marker", sequence, time, tag }))) return false;
    this.#appendedSinceMarker = false;
    this.cut();
    return true;
  }

  #next(): number {
    this.#appendedSinceMarker = true;
    this.#lastSequence += 1;
    return this.#lastSequence;
  }

  /** A segment with room for a record, or undefined when nothing may be journaled; passing the bound is where that begins. */
  #room(payloadBytes: number): OpenSegment | undefined {
    if (!this.journaling) return undefined;
    if (this.#open?.hasRoom(payloadBytes) === true) return this.#open;
    this.cut();
    const buffers = this.#session?.backlog.take();
    if (buffers === undefined) {
      this.#overflowed = true;
      this.changes.fire();
      return undefined;
    }
    const [time, at] = [this.#clock.now(), this.#clock.monotonic()];
    this.#open = new OpenSegment(this.#batches, this.#lastSequence + 1, buffers, time, at);
    this.#batches += 1;
    return this.#open;
  }

  #roomCame(): void {
    if (this.#overflowed && (this.#session?.backlog.unacknowledgedBytes ?? 0) <= this.#bufferBytes * lowWaterShare) {
      this.#overflowed = false;
      this.#beginSyncs();
    }
    this.changes.fire();
  }

  /** Writes are journaled from here on: says so of every volume with suspects, and what its hashes are to be compared with. */
  #beginSyncs(): void {
    for (const track of this.tracks) {
      if (!this.journaling || (track.suspects.count === 0 && !track.owed)) continue;
      if (!track.syncing) {
        if (track.basisRevision !== track.revision) track.label = "bitmap-sync";
        if (!this.#event((sequence) => ({ kind: "sync-begin", sequence, volume: track.journalVolume }))) return;
        track.syncing = true;
        track.owed = false;
      }
    }
    const upTo = this.lastPosition;
    for (const track of this.tracks) {
      if (!this.journaling || upTo === undefined || track.basisRevision === track.revision) continue;
      track.basis = { kind: "image", upTo };
      track.basisRevision = track.revision;
    }
  }
}
