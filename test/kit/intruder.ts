import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";

/** Counts the writes that somebody took where nobody may, asked again and again until it is stopped. */
export class Intruder {
  accepted = 0;
  /** That it tried at all. */
  refused = 0;
  readonly #uri: string;
  #stopped = false;
  #loop: Promise<void>;

  constructor(uri: string) {
    this.#uri = uri;
    this.#loop = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      if (await takesWrite(this.#uri)) this.accepted += 1;
      else {
        this.refused += 1;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}

async function takesWrite(uri: string): Promise<boolean> {
  const { address, exportName } = parseNbdUri(uri);
  try {
    const client = await NbdClient.connect(address, exportName);
    await client.write(0, Buffer.alloc(512, 0xee)).finally(() => client.destroy());
    return true;
  } catch {
    return false;
  }
}
