import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { GetObjectCommand, ListObjectsV2Command, S3Client } from "@aws-sdk/client-s3";
import { clientSettings } from "../../scripts/local-aws/clients.ts";
import type { Ground } from "./ground.ts";

/** Copies all that a bucket holds now into a folder, as `--offline` reads it. */
export async function copyBucket(ground: Ground, Bucket: string, folder: string): Promise<void> {
  const client = new S3Client({ ...clientSettings(ground), forcePathStyle: "AWS_ENDPOINT_URL" in ground.env });
  let after: string | undefined;
  do {
    const listed = await client.send(
      new ListObjectsV2Command({ Bucket, ...(after === undefined ? {} : { ContinuationToken: after }) }),
    );
    for (const { Key = "" } of listed.Contents ?? []) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
      const path = join(folder, Key);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, (await Body?.transformToByteArray()) ?? "");
    }
    after = listed.NextContinuationToken;
  } while (after !== undefined);
}
