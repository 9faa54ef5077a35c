import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { CreateBucketCommand, ListMultipartUploadsCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { afterEach, describe, expect, it } from "vitest";
import { objectsContract } from "../../test/contract/objects.ts";
import { useLocalAws } from "../../test/kit/local-aws.ts";
import { SystemClock } from "../embedded/clock.ts";
import { SystemRandom } from "../embedded/random.ts";
import { makeAwsClients } from "./clients.ts";
import { partBytes, singlePutBytesMax } from "./limits.ts";
import { S3Objects } from "./objects.ts";

const common = { clock: new SystemClock(), random: new SystemRandom() };

describe("on a local AWS", () => {
  const local = useLocalAws();
  const newBucket = async () => {
    const bucket = `bucket-${Buffer.from(common.random.bytes(8)).toString("hex")}`;
    const client = makeAwsClients(local.place).s3;
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    return { bucket, client };
  };

  objectsContract("S3Objects", async () => {
    const { bucket, client } = await newBucket();
    return {
      objects: new S3Objects({ ...common, bucket, client }),
      other: new S3Objects({ ...common, bucket, client: makeAwsClients(local.place).s3 }),
      flat: true,
    };
  });

  it("puts a large body in parts: created once, whole, and nothing of the loser's is kept", async () => {
    const { bucket, client } = await newBucket();
    const objects = new S3Objects({ ...common, bucket, client });
    const body = new Uint8Array(singlePutBytesMax + partBytes + 5).fill(7);
    body[body.length - 1] = 8;
    expect(await objects.put("layer", body, { ifAbsent: true })).toBe("created");
    expect(await objects.put("layer", new Uint8Array(body.length), { ifAbsent: true })).toBe("exists");
    expect(Buffer.compare(await objects.get("layer"), body)).toBe(0);
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }));
    expect(Uploads).toEqual([]);
  });

  it("sends a body's SHA-256, hashed once, and S3 refuses another", async () => {
    const { bucket, client } = await newBucket();
    const sent: Record<string, string>[] = [];
    client.middlewareStack.add(
      (next) => (args) => {
        sent.push({ ...Object(args.request).headers });
        return next(args);
      },
      { step: "finalizeRequest", name: "sent", priority: "low" },
    );
    const objects = new S3Objects({ ...common, bucket, client });
    await objects.put("k", new TextEncoder().encode("hello"));
    const hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    expect(sent[0]).toMatchObject({
      "x-amz-checksum-sha256": Buffer.from(hex, "hex").toString("base64"),
      "x-amz-content-sha256": hex,
    });
    expect(Object.keys(sent[0] ?? {}).filter((name) => /crc/.test(name))).toEqual([]);
    const wrong = {
      Bucket: bucket,
      Key: "k",
      Body: "other",
      ChecksumSHA256: Buffer.from(hex, "hex").toString("base64"),
    };
    await expect(client.send(new PutObjectCommand(wrong))).rejects.toMatchObject({ name: "BadDigest" });
  });

  it("names the bucket that is not there", async () => {
    const { s3 } = makeAwsClients(local.place);
    const objects = new S3Objects({ ...common, bucket: "no-such-bucket", client: s3 });
    await expect(objects.get("k")).rejects.toMatchObject({ name: "Transient", details: { aws: "NoSuchBucket" } });
  });
});

/** An S3 that answers each request in turn as it is told here. */
describe("S3Objects", () => {
  let server: Server | undefined;
  const asked: string[] = [];
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
    asked.length = 0;
  });
  const objectsThatHear = async (answers: readonly (readonly [number, string])[]) => {
    server = createServer((request, response) => {
      asked.push(`${request.method} ${request.headers["if-none-match"] ?? ""}`);
      const [status, code] = answers[asked.length - 1] ?? answers.at(-1) ?? [500, "InternalError"];
      request.resume().on("end", () => {
        const body = status === 200 ? code : `<Error><Code>${code}</Code><Message>said</Message></Error>`;
        // SHA-256 of nothing.
        const checksum = { "x-amz-checksum-sha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" };
        response.writeHead(status, { "content-type": "application/xml", ...checksum }).end(body);
      });
    });
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const credentials = { accessKeyId: "local", secretAccessKey: "local" };
    const { s3 } = makeAwsClients({ endpoint, region: "eu-central-1", credentials });
    return new S3Objects({ ...common, bucket: "bucket", client: s3 });
  };
  const put = (objects: S3Objects) => objects.put("k", new Uint8Array(3), { ifAbsent: true });

  it("tries a creation again that met another one (409), and then tells who won", async () => {
    const won = await objectsThatHear([
      [409, "ConditionalRequestConflict"],
      [409, "ConditionalRequestConflict"],
      [200, ""],
    ]);
    expect(await put(won)).toBe("created");
    expect(asked).toEqual(["PUT *", "PUT *", "PUT *"]);
    server?.close();
    asked.length = 0;
    const lost = await objectsThatHear([
      [409, "ConditionalRequestConflict"],
      [412, "PreconditionFailed"],
    ]);
    expect(await put(lost)).toBe("exists");
  });

  it("gives nothing that isn't what was put", async () => {
    const objects = await objectsThatHear([[200, "changed"]]);
    await expect(objects.get("k")).rejects.toMatchObject({ name: "Corrupt", details: { key: "k" } });
  });

  it.each([
    [503, "SlowDown", "Transient", 4],
    [500, "InternalError", "Transient", 4],
    [403, "AccessDenied", "Forbidden", 1],
    [403, "RequestTimeTooSkewed", "Forbidden", 1],
    [404, "NoSuchBucket", "Transient", 1],
    [400, "BadDigest", "Transient", 1],
    [400, "EntityTooLarge", "InvalidInput", 1],
    [400, "KMS.DisabledException", "Forbidden", 1],
    [409, "ConditionalRequestConflict", "Transient", 8],
  ] as const)("%i %s is told as %s after %i tries", async (status, code, name, tries) => {
    const objects = await objectsThatHear([[status, code]]);
    await expect(put(objects)).rejects.toMatchObject({ name, details: { action: "s3:PutObject" } });
    expect(asked).toHaveLength(tries);
  });
});
