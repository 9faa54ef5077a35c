import { RemovalPolicy } from "aws-cdk-lib";
import { AttributeType, BillingMode, Table, TableEncryption } from "aws-cdk-lib/aws-dynamodb";
import type { IKey } from "aws-cdk-lib/aws-kms";
import { Construct } from "constructs";

export interface SiteTableProps {
  /** The site's own key; without one DynamoDB encrypts with its own. */
  readonly key: IKey | undefined;
  /** Lets the table be deleted. */
  readonly removeData: boolean;
}

/** The index over the bucket, and what is only of today. It can be made again from the bucket; point-in-time recovery is the shorter way. */
export class SiteTable extends Construct {
  readonly table: Table;

  constructor(scope: Construct, id: string, { key, removeData }: SiteTableProps) {
    super(scope, id);
    this.table = new Table(this, "Table", {
      partitionKey: { name: "pk", type: AttributeType.STRING },
      sortKey: { name: "sk", type: AttributeType.STRING },
      billingMode: BillingMode.PAY_PER_REQUEST,
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      timeToLiveAttribute: "ttl",
      deletionProtection: !removeData,
      ...(key === undefined
        ? { encryption: TableEncryption.DEFAULT }
        : { encryption: TableEncryption.CUSTOMER_MANAGED, encryptionKey: key }),
      removalPolicy: removeData ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    });
  }
}
