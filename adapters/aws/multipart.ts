import { createHash } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { partBytes, partsInFlightMax } from "./limits.ts";

/** Which object of which bucket, and on what condition. */
export interface UploadTarget {
  readonly Bucket: string;
  readonly Key: string;
  readonly ExpectedBucketOwner?: string;
  readonly IfNoneMatch?: string;
}

/**
 * Puts a large body in parts, each with its checksum. Nothing is visible before the last call, which alone carries the
 * condition. What was uploaded is given up when anything fails; should even that fail, the bucket's lifecycle removes it.
 */
export async function putInParts(client: S3Client, target: UploadTarget, body: Uint8Array): Promise<void> {
  const { IfNoneMatch, ...place } = target;
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...place, ChecksumAlgorithm: "SHA256" }));
  if (UploadId === undefined) throw new TypeError("S3 began an upload without naming it");
  const upload = { ...place, UploadId };
  try {
    const Parts = await uploadParts(client, upload, body);
    const condition = IfNoneMatch === undefined ? {} : { IfNoneMatch };
    await client.send(new CompleteMultipartUploadCommand({ ...upload, ...condition, MultipartUpload: { Parts } }));
  } catch (error) {
    await client.send(new AbortMultipartUploadCommand(upload)).catch(() => undefined);
    throw error;
  }
}

async function uploadParts(
  client: S3Client,
  upload: { readonly Bucket: string; readonly Key: string; readonly UploadId: string },
  body: Uint8Array,
): Promise<CompletedPart[]> {
  const count = Math.ceil(body.length / partBytes);
  const parts: CompletedPart[] = [];
  let next = 1;
  let failed = false;
  const worker = async (): Promise<void> => {
    while (next <= count && !failed) {
      const PartNumber = next++;
      const Body = body.subarray((PartNumber - 1) * partBytes, PartNumber * partBytes);
      const ChecksumSHA256 = createHash("sha256").update(Body).digest("base64");
      const command = new UploadPartCommand({ ...upload, PartNumber, Body, ChecksumSHA256 });
      try {
        const { ETag } = await client.send(command);
        parts[PartNumber - 1] = { PartNumber, ChecksumSHA256, ...(ETag === undefined ? {} : { ETag }) };
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  // All have ended before anything is given up: a part that came later would be kept and paid for.
  const ended = await Promise.allSettled(Array.from({ length: partsInFlightMax }, worker));
  for (const end of ended) if (end.status === "rejected") throw end.reason;
  return parts;
}
