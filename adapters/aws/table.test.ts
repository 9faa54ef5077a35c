import { CreateTableCommand, type DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { describe } from "vitest";
import { tableContract } from "../../test/contract/table.ts";
import { useLocalAws } from "../../test/kit/local-aws.ts";
import { SystemClock } from "../embedded/clock.ts";
import { SystemRandom } from "../embedded/random.ts";
import { makeAwsClients } from "./clients.ts";
import { DynamoTable } from "./table.ts";

const common = { clock: new SystemClock(), random: new SystemRandom() };

describe("on a local AWS", () => {
  const local = useLocalAws();
  const newTable = async (client: DynamoDBClient) => {
    const tableName = `table-${Buffer.from(common.random.bytes(8)).toString("hex")}`;
    await client.send(
      new CreateTableCommand({
        TableName: tableName,
        BillingMode: "PAY_PER_REQUEST",
        KeySchema: [
          { AttributeName: "pk", KeyType: "HASH" },
          { AttributeName: "sk", KeyType: "RANGE" },
        ],
        AttributeDefinitions: [
          { AttributeName: "pk", AttributeType: "S" },
          { AttributeName: "sk", AttributeType: "S" },
        ],
      }),
    );
    return tableName;
  };

  tableContract("DynamoTable", async () => {
    const client = makeAwsClients(local.place).dynamo;
    const tableName = await newTable(client);
    return {
      table: new DynamoTable({ ...common, client, tableName }),
      other: new DynamoTable({ ...common, client: makeAwsClients(local.place).dynamo, tableName }),
    };
  });
});
