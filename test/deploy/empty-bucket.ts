import { DeleteObjectsCommand, ListObjectVersionsCommand, S3Client } from "@aws-sdk/client-s3";
import { clientSettings } from "../../scripts/local-aws/clients.ts";
import type { Ground } from "./ground.ts";

/** Deletes every version of every object of a bucket that this suite made; CloudFormation deletes none that holds something. */
export async function emptyBucket(ground: Ground, Bucket: string): Promise<void> {
  const client = new S3Client(clientSettings(ground));
  for (;;) {
    const { Versions = [], DeleteMarkers = [] } = await client.send(new ListObjectVersionsCommand({ Bucket }));
    const Objects = [...Versions, ...DeleteMarkers].map(({ Key, VersionId }) => ({ Key, VersionId }));
    if (Objects.length === 0) return;
    const { Errors = [] } = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }));
    const [first] = Errors;
    if (first !== undefined) throw new Error(`${Bucket}/${first.Key} can't be deleted: ${first.Code} ${first.Message}`);
  }
}
