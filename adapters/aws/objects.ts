import { createHash } from "node:crypto";
import {
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { Corrupt, NotFound, Transient } from "#core/errors.ts";
import { assertKey, assertPrefix, assertPurge, cutRange, listLimit } from "#core/object-key.ts";
import type { ByteRange, Clock, ObjectInfo, Objects, Random } from "#core/ports.ts";
import { retry } from "#core/retry.ts";
import { conflictRetry, deletedAtOnce, singlePutBytesMax } from "./limits.ts";
import { putInParts } from "./multipart.ts";
import { awsTrouble, faultOf } from "./trouble.ts";

export interface S3ObjectsOptions {
  readonly client: S3Client;
  readonly bucket: string;
  /** The account that must own the bucket. */
  readonly owner?: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * Objects in an S3 bucket. S3 is strongly consistent and an object is whole when it is seen; If-None-Match:* lets exactly one
 * creation win. A key may be a folder of another here. Its role needs s3:ListBucket, without which S3 says 403 of what is absent.
 */
export class S3Objects implements Objects {
  readonly #options: S3ObjectsOptions;
  /** What every call names. */
  readonly #place: { readonly Bucket: string; readonly ExpectedBucketOwner?: string };

  constructor(options: S3ObjectsOptions) {
    this.#options = options;
    const { bucket, owner } = options;
    this.#place = { Bucket: bucket, ...(owner === undefined ? {} : { ExpectedBucketOwner: owner }) };
  }

  async get(key: string, range?: ByteRange): Promise<Uint8Array> {
    assertKey(key);
    if (range === undefined) return this.#read(key, undefined);
    const { offset, length } = cutRange(range, Number.MAX_SAFE_INTEGER);
    if (length > 0) return this.#read(key, `bytes=${offset}-${offset + length - 1}`);
    // HTTP has no empty range; whether the object is there is asked all the same.
    if ((await this.head(key)) === undefined) throw absent(key);
    return new Uint8Array(0);
  }

  async put(
    key: string,
    body: Uint8Array,
    options: { readonly ifAbsent?: boolean } = {},
  ): Promise<"created" | "exists"> {
    assertKey(key);
    const { client, clock, random } = this.#options;
    const condition = options.ifAbsent === true ? { IfNoneMatch: "*" } : {};
    const target = { ...this.#place, ...condition, Key: key };
    // S3 refuses other bytes than these, keeps the checksum, and gives it with the object. Hashed once, however often it is sent.
    let known: string | undefined;
    const checksum = (): string => {
      known ??= createHash("sha256").update(body).digest("base64");
      return known;
    };
    const send = async (): Promise<void> => {
      if (body.length > singlePutBytesMax) await putInParts(client, target, body);
      else await client.send(new PutObjectCommand({ ...target, Body: body, ChecksumSHA256: checksum() }));
    };
    try {
      // 409: somebody else is creating the same name; once that is over it is there, or it is not.
      await retry(clock, random, { ...conflictRetry, retries: isConflict }, send);
      return "created";
    } catch (error) {
      if (options.ifAbsent === true && faultOf(error).status === 412) return "exists";
      throw this.#trouble(error, "s3:PutObject", key);
    }
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    assertKey(key);
    try {
      const { ContentLength } = await this.#options.client.send(new HeadObjectCommand({ ...this.#place, Key: key }));
      return { key, size: ContentLength ?? 0 };
    } catch (error) {
      // A HEAD has no body that would say whether it is the bucket that is missing; every other call tells.
      if (faultOf(error).status === 404) return undefined;
      throw this.#trouble(error, "s3:GetObject", key);
    }
  }

  async list(
    prefix: string,
    options: { readonly after?: string; readonly limit?: number } = {},
  ): Promise<readonly ObjectInfo[]> {
    assertPrefix(prefix);
    const limit = listLimit(options.limit);
    const found: ObjectInfo[] = [];
    let after = options.after;
    // S3 may give fewer than were asked for although there are more; to the caller fewer means the end.
    for (;;) {
      const page = await this.#page(prefix, after, limit - found.length);
      found.push(...page.infos);
      after = page.infos.at(-1)?.key;
      if (!page.more || found.length >= limit || after === undefined) return found;
    }
  }

  async delete(key: string): Promise<void> {
    assertKey(key);
    try {
      await this.#options.client.send(new DeleteObjectCommand({ ...this.#place, Key: key }));
    } catch (error) {
      throw this.#trouble(error, "s3:DeleteObject", key);
    }
  }

  /** A listing and a deletion a thousand versions: keys of one folder are found together. */
  async purge(keys: readonly string[]): Promise<void> {
    const folders = Map.groupBy(assertPurge(keys), (key) => key.slice(0, key.lastIndexOf("/") + 1));
    for (const [folder, inside] of folders) {
      const wanted = new Set(inside);
      const last = inside.at(-1) ?? "";
      let from: { readonly KeyMarker?: string; readonly VersionIdMarker?: string } = {
        KeyMarker: inside[0]?.slice(0, -1) ?? "",
      };
      for (;;) {
        const page = await this.#versions(folder, from);
        await this.#deleteVersions(page.versions.filter(({ Key }) => wanted.has(Key)));
        if (page.next === undefined || (page.next.KeyMarker ?? "") > last) break;
        from = page.next;
      }
    }
  }

  async #versions(prefix: string, from: { readonly KeyMarker?: string; readonly VersionIdMarker?: string }) {
    try {
      const page = await this.#options.client.send(
        new ListObjectVersionsCommand({ ...this.#place, Prefix: prefix, ...from }),
      );
      const { Versions = [], DeleteMarkers = [], IsTruncated, NextKeyMarker, NextVersionIdMarker } = page;
      const versions = [...Versions, ...DeleteMarkers].map(({ Key = "", VersionId = "null" }) => ({ Key, VersionId }));
      const next =
        IsTruncated === true && NextKeyMarker !== undefined
          ? {
              KeyMarker: NextKeyMarker,
              ...(NextVersionIdMarker === undefined ? {} : { VersionIdMarker: NextVersionIdMarker }),
            }
          : undefined;
      return { versions, next };
    } catch (error) {
      throw this.#trouble(error, "s3:ListBucketVersions", prefix);
    }
  }

  async #deleteVersions(versions: readonly { readonly Key: string; readonly VersionId: string }[]): Promise<void> {
    for (let at = 0; at < versions.length; at += deletedAtOnce) {
      const Objects = versions.slice(at, at + deletedAtOnce);
      try {
        const { Errors = [] } = await this.#options.client.send(
          new DeleteObjectsCommand({ ...this.#place, Delete: { Objects, Quiet: true } }),
        );
        const [first] = Errors;
        if (first !== undefined) throw Object.assign(new Error(first.Message), { name: first.Code ?? "DeleteObjects" });
      } catch (error) {
        throw this.#trouble(error, "s3:DeleteObjectVersion", Objects[0]?.Key ?? "");
      }
    }
  }

  async #read(key: string, range: string | undefined): Promise<Uint8Array> {
    // The SDK compares the bytes with the checksum they were put with; of a range S3 has none, nor a plain one of an upload in parts.
    const how = range === undefined ? { ChecksumMode: "ENABLED" as const } : { Range: range };
    try {
      const { Body, ContentLength } = await this.#options.client.send(
        new GetObjectCommand({ ...this.#place, ...how, Key: key }),
      );
      const bytes = (await Body?.transformToByteArray()) ?? new Uint8Array(0);
      if (ContentLength !== undefined && bytes.length !== ContentLength)
        throw new Transient(`object ${key} came with ${bytes.length} of ${ContentLength} bytes`, { key });
      return bytes;
    } catch (error) {
      const { name, status, message } = faultOf(error);
      if (status === 416) return new Uint8Array(0);
      if (name === "NoSuchKey") throw absent(key);
      if (/^checksum mismatch/i.test(message))
        throw new Corrupt(`object ${key} is not what was put: ${message}`, { key }, { cause: error });
      throw this.#trouble(error, "s3:GetObject", key);
    }
  }

  async #page(
    prefix: string,
    after: string | undefined,
    limit: number,
  ): Promise<{ readonly infos: readonly ObjectInfo[]; readonly more: boolean }> {
    try {
      const { Contents = [], IsTruncated = false } = await this.#options.client.send(
        new ListObjectsV2Command({
          ...this.#place,
          Prefix: prefix,
          MaxKeys: limit,
          ...(after === undefined || after === "" ? {} : { StartAfter: after }),
        }),
      );
      return { infos: Contents.map(({ Key = "", Size = 0 }) => ({ key: Key, size: Size })), more: IsTruncated };
    } catch (error) {
      throw this.#trouble(error, "s3:ListBucket", prefix);
    }
  }

  #trouble(error: unknown, action: string, key: string) {
    return awsTrouble(error, action, `s3://${this.#options.bucket}/${key}`);
  }
}

function isConflict(error: unknown): boolean {
  return faultOf(error).status === 409;
}

function absent(key: string): NotFound {
  return new NotFound(`There is no object ${key}.`, { key });
}
