import type { BlockDevice } from "../disk/block-device.ts";
import type { Connection } from "./connection.ts";
import { preferredBlockBytes, requestBytesMax } from "./limits.ts";
import { type ExportInfo, transmissionFlag } from "./protocol.ts";

/** One disk under one name, with its clients. */
export class Export {
  readonly name: string;
  readonly description: string;
  readonly device: BlockDevice;
  readonly connections = new Set<Connection>();
  readonly canTrim: boolean;
  #readOnly: boolean;
  #writesInFlight = 0;
  #onWritesDone: (() => void)[] = [];

  constructor(
    name: string,
    device: BlockDevice,
    options: { readonly readOnly: boolean; readonly description: string },
  ) {
    this.name = name;
    this.device = device;
    this.description = options.description;
    this.canTrim = device.trim !== undefined;
    this.#readOnly = options.readOnly || device.readOnly;
  }

  get sizeBytes(): number {
    return this.device.sizeBytes;
  }

  get sectorBytes(): number {
    return this.device.sectorBytes;
  }

  get readOnly(): boolean {
    return this.#readOnly;
  }

  /** Refuses writes from now on; resolves when those that were already with the disk are done. */
  setReadOnly(): Promise<void> {
    this.#readOnly = true;
    if (this.#writesInFlight === 0) {
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#onWritesDone.push(resolve);
    });
  }

  writeBegins(): void {
    this.#writesInFlight++;
  }

  writeEnds(): void {
    this.#writesInFlight--;
    if (this.#writesInFlight === 0 && this.#onWritesDone.length > 0) {
      const waiting = this.#onWritesDone;
      this.#onWritesDone = [];
      for (const resolve of waiting) {
        resolve();
      }
    }
  }

  /** What clients are told. A flush covers the whole device, whichever connection wrote, hence CAN_MULTI_CONN. */
  info(): ExportInfo {
    const { hasFlags, sendFlush, sendFua, canMultiConn, readOnly, sendWriteZeroes, sendTrim } = transmissionFlag;
    const writing = this.#readOnly ? readOnly : sendWriteZeroes | (this.canTrim ? sendTrim : 0);
    return {
      name: this.name,
      description: this.description,
      sizeBytes: this.sizeBytes,
      flags: hasFlags | sendFlush | sendFua | canMultiConn | writing,
      blockBytesMin: this.sectorBytes,
      blockBytesPreferred: Math.max(preferredBlockBytes, this.sectorBytes),
      blockBytesMax: requestBytesMax,
    };
  }
}
