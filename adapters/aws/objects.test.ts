import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { describe } from "vitest";
import { objectsContract } from "../../test/contract/objects.ts";
import { useLocalAws } from "../../test/kit/local-aws.ts";
import { SystemClock } from "../embedded/clock.ts";
import { SystemRandom } from "../embedded/random.ts";
import { makeAwsClients } from "./clients.ts";
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
});
