import { CreateTableCommand } from "@aws-sdk/client-dynamodb";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import type { AwsClients } from "#adapters/aws/clients.ts";
import { S3Objects } from "#adapters/aws/objects.ts";
import { DynamoTable } from "#adapters/aws/table.ts";
import { SystemClock } from "#adapters/embedded/clock.ts";
import { SystemRandom } from "#adapters/embedded/random.ts";

/** A new bucket and a new table of one name on a local AWS, and a site's ports over them. */
export async function newAwsStore({ s3, dynamo }: Pick<AwsClients, "s3" | "dynamo">) {
  const [clock, random] = [new SystemClock(), new SystemRandom()];
  const name = `farshore-${Buffer.from(random.bytes(8)).toString("hex")}`;
  await s3.send(new CreateBucketCommand({ Bucket: name }));
  const keys = ["pk", "sk"] as const;
  await dynamo.send(
    new CreateTableCommand({
      TableName: name,
      BillingMode: "PAY_PER_REQUEST",
      KeySchema: keys.map((AttributeName, place) => ({ AttributeName, KeyType: place === 0 ? "HASH" : "RANGE" })),
      AttributeDefinitions: keys.map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
    }),
  );
  return {
    name,
    objects: new S3Objects({ client: s3, bucket: name, clock, random }),
    table: new DynamoTable({ client: dynamo, tableName: name, clock, random }),
  };
}
