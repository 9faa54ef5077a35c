import { Duration, RemovalPolicy, Validations } from "aws-cdk-lib";
import { AnyPrincipal, Effect, type IRole, PolicyStatement } from "aws-cdk-lib/aws-iam";
import type { IKey } from "aws-cdk-lib/aws-kms";
import { BlockPublicAccess, Bucket, BucketEncryption, ObjectOwnership } from "aws-cdk-lib/aws-s3";
import { Construct } from "constructs";
import { infraLimits } from "../limits.ts";
import {
  type BucketArea,
  collectedAreas,
  createOnceAreas,
  derivedAreas,
  identityObject,
  passingAreas,
} from "./bucket-areas.ts";

export interface JournalBucketProps {
  /** The site's own key; without one S3 encrypts with its keys. */
  readonly key: IKey | undefined;
  /** Lets the bucket be emptied and deleted. */
  readonly removeData: boolean;
}

/**
 * The truth of a site. Its policy holds, against every principal of the account and this program's own mistakes, what the
 * journal rests on: what is created once is never replaced (R7) and never deleted (R8, R13).
 */
export class JournalBucket extends Construct {
  readonly bucket: Bucket;
  readonly #removeData: boolean;

  constructor(scope: Construct, id: string, { key, removeData }: JournalBucketProps) {
    super(scope, id);
    this.#removeData = removeData;
    this.bucket = new Bucket(this, "Bucket", {
      versioned: true,
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      ...(key === undefined
        ? { encryption: BucketEncryption.S3_MANAGED }
        : { encryption: BucketEncryption.KMS, encryptionKey: key, bucketKeyEnabled: true }),
      lifecycleRules: [
        // A deletion leaves the version; of what was made again as part of another layer nobody needs it.
        {
          id: "replaced-layers",
          prefix: "layers/",
          noncurrentVersionExpiration: Duration.days(infraLimits.replacedLayerDays),
          expiredObjectDeleteMarker: true,
        },
        // Hashes and want-lists of a delta-sync: nobody asks for them once it has ended.
        {
          id: "passed-syncs",
          prefix: "sync/",
          expiration: Duration.days(infraLimits.syncObjectDays),
          noncurrentVersionExpiration: Duration.days(1),
        },
        { id: "abandoned-uploads", abortIncompleteMultipartUploadAfter: Duration.days(infraLimits.multipartDays) },
      ],
      removalPolicy: removeData ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
    });
    this.bucket.addToResourcePolicy(this.#createOnly());
    if (!removeData) this.bucket.addToResourcePolicy(this.#neverDelete());
    Validations.of(this.bucket).acknowledge({
      id: "AwsSolutions-S1",
      reason:
        "an access log of every batch costs more than the batches; CloudTrail data events give the same where it is asked for",
    });
  }

  #objectsOf(areas: readonly BucketArea[]): string[] {
    return [...areas.map((area) => `${area}/*`), identityObject].map((keys) => this.bucket.arnForObjects(keys));
  }

  /**
   * Refuses to create an object without If-None-Match. The parts of a multipart upload carry no such header, so they are let
   * through: the key `s3:ObjectCreationOperation` is true only of what makes an object (S3 user guide, "Enforce conditional writes").
   */
  #createOnly(): PolicyStatement {
    return new PolicyStatement({
      sid: "CreateOnly",
      effect: Effect.DENY,
      principals: [new AnyPrincipal()],
      actions: ["s3:PutObject"],
      resources: this.#objectsOf([...createOnceAreas, ...collectedAreas, ...derivedAreas, ...passingAreas]),
      conditions: { Null: { "s3:if-none-match": "true" }, Bool: { "s3:ObjectCreationOperation": "true" } },
    });
  }

  /** Nobody deletes from the journal, neither by a marker nor a version, but this role: the collector's. */
  letCollect(role: IRole): void {
    if (this.#removeData) return;
    this.bucket.addToResourcePolicy(
      new PolicyStatement({
        sid: "OnlyTheCollectorDeletes",
        effect: Effect.DENY,
        principals: [new AnyPrincipal()],
        actions: ["s3:DeleteObject", "s3:DeleteObjectVersion"],
        resources: collectedAreas.map((area) => this.bucket.arnForObjects(`${area}/*`)),
        conditions: { ArnNotEquals: { "aws:PrincipalArn": role.roleArn } },
      }),
    );
  }

  /** Nobody deletes, neither by a marker nor a version. */
  #neverDelete(): PolicyStatement {
    return new PolicyStatement({
      sid: "NeverDelete",
      effect: Effect.DENY,
      principals: [new AnyPrincipal()],
      actions: ["s3:DeleteObject", "s3:DeleteObjectVersion"],
      resources: this.#objectsOf(createOnceAreas),
    });
  }
}
