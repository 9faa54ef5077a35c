import { comparePositions, type Position } from "#core/journal/position.ts";
import type { SessionStart } from "./session-types.ts";
import { VolumeTrack } from "./volume-track.ts";

/** What became of a disk between a clean end and the next start. */
export interface RecalledDisk {
  readonly standing: "same" | "touched" | "new";
  /** The journal's number of it at the end; 0 when there is none or it isn't known. */
  readonly journalVolume: number;
}

/** The volumes of a session log, and what is known of them between two sessions. */
export class VolumeTracks {
  readonly #tracks: VolumeTrack[];
  #made: number;
  /** End of the session that was left with every later change among the suspects. */
  #leftAt: Position | undefined;

  constructor(sizes: readonly number[]) {
    this.#tracks = sizes.map((sizeBytes, index) => new VolumeTrack(index, sizeBytes));
    this.#made = this.#tracks.length;
  }

  /** In ascending order of their indexes, which are never given twice. */
  get tracks(): readonly VolumeTrack[] {
    return this.#tracks;
  }

  /** Of that index. */
  at(index: number): VolumeTrack | undefined {
    // Unless some were dropped, a track stands where its index says.
    const first = this.#tracks[index];
    return first?.index === index ? first : this.#tracks.find((track) => track.index === index);
  }

  /** A volume more, of which the journal has nothing. Between two sessions, as the two that follow. */
  add(sizeBytes: number): VolumeTrack {
    const track = this.#make(sizeBytes);
    track.suspectAll();
    track.isNew = true;
    return track;
  }

  /** In place of a track that is dropped: what that one had as suspects, and all beyond its end. */
  addGrown(before: VolumeTrack, sizeBytes: number): VolumeTrack {
    const track = this.#make(sizeBytes);
    track.journalVolume = before.journalVolume;
    track.suspects.addFrom(before.suspects);
    track.suspect(before.sizeBytes, sizeBytes - before.sizeBytes);
    return track;
  }

  #make(sizeBytes: number): VolumeTrack {
    const track = new VolumeTrack(this.#made, sizeBytes);
    this.#made += 1;
    this.#tracks.push(track);
    track.nextLabel = "initial-sync";
    return track;
  }

  /** Nothing writes it any more. */
  drop(track: VolumeTrack): void {
    this.#tracks.splice(this.#tracks.indexOf(track), 1);
  }

  /** Of a process that begins after a clean end: where that was, and what became of each disk since. */
  recall(end: Position, disks: readonly RecalledDisk[]): void {
    this.#leftAt = end;
    for (const [place, track] of this.#tracks.entries()) {
      const { standing = "new", journalVolume = 0 } = disks[place] ?? {};
      track.journalVolume = journalVolume;
      if (standing === "same") continue;
      track.suspectAll();
      track.isNew = standing === "new";
      track.nextLabel = track.isNew ? "initial-sync" : "delta-sync";
    }
  }

  /** A session begins. What goes on from the one before has its suspects; of anything else the whole is suspect. */
  begin(journalVolumes: readonly number[], start: SessionStart): void {
    const goesOn = start.kind === "sync" && this.#wasLeftAt(start);
    this.#leftAt = undefined;
    for (const [place, track] of this.#tracks.entries()) {
      const journalVolume = journalVolumes[place] ?? 0;
      if (goesOn && !track.isNew && track.journalVolume !== journalVolume) {
        // Removed and added again: to the journal it is another volume, so what is known of the one before says nothing.
        track.suspectAll();
        track.nextLabel = "delta-sync";
      }
      track.journalVolume = journalVolume;
      if (start.kind === "continues") continue;
      if (!goesOn) track.suspectAll();
      track.label = goesOn ? (track.nextLabel ?? "bitmap-sync") : start.label;
      track.basis = goesOn && track.isNew ? { kind: "empty" } : start.basis;
      track.basisRevision = track.revision;
      track.nextLabel = undefined;
      track.isNew = false;
      track.owed = true;
    }
  }

  #wasLeftAt({ basis }: Extract<SessionStart, { readonly kind: "sync" }>): boolean {
    return this.#leftAt !== undefined && basis.kind === "image" && comparePositions(this.#leftAt, basis.upTo) === 0;
  }

  /** The site has all of the session up to its end; from here on every change becomes a suspect. */
  leave(end: Position): void {
    this.#leftAt = end;
    for (const track of this.#tracks) {
      track.syncing = false;
      // A comparison that is under way was with another session.
      track.revision += 1;
    }
  }

  /** Nothing is known of the journal any more. */
  distrust(): void {
    this.forget();
    for (const track of this.#tracks) {
      track.suspectAll();
      track.syncing = false;
    }
  }

  /** The site lost what it had acknowledged: where its journal ends says nothing. */
  forget(): void {
    this.#leftAt = undefined;
  }
}
