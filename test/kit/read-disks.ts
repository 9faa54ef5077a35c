import type { OperationView } from "#core/api/site-api.ts";
import { NbdClient } from "../../gateway/nbd/client.ts";
import { parseNbdUri } from "../../gateway/nbd/uri.ts";
import { exportsOf } from "../../scripts/demo/back-home.ts";
import { until } from "../../scripts/demo/stage.ts";

const MiB = 2 ** 20;

/** The disks that an operation serves, in the order of the volumes. */
export const readDisks = (
  operation: OperationView,
  volumes: readonly { readonly bytes: number }[],
): Promise<Buffer[]> =>
  Promise.all(exportsOf(operation).map((uri, index) => readDisk(uri, volumes[index]?.bytes ?? 0)));

/** Reads a whole disk, also when its gateway was killed a moment ago. */
const readDisk = (uri: string, bytes: number): Promise<Buffer> =>
  until("the disk", 60_000, async () => {
    const { address, exportName } = parseNbdUri(uri);
    const client = await NbdClient.connect(address, exportName);
    const image = Buffer.alloc(bytes);
    for (let at = 0; at < bytes; at += MiB) await client.readInto(at, image.subarray(at, Math.min(at + MiB, bytes)));
    await client.disconnect();
    return image;
  });
