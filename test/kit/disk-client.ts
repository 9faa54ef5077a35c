import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";

async function withDisk<T>(uri: string, work: (client: NbdClient) => Promise<T>): Promise<T> {
  const { address, exportName } = parseNbdUri(uri);
  const client = await NbdClient.connect(address, exportName);
  try {
    return await work(client);
  } finally {
    await client.disconnect();
  }
}

/** Fills the first 4096 bytes of a disk with the text, over and over. */
export const writeDisk = (uri: string, text: string): Promise<void> =>
  withDisk(uri, (client) => client.write(0, Buffer.alloc(4096, text)));

export const readDisk = (uri: string): Promise<Buffer> => withDisk(uri, (client) => client.read(0, 4096));
