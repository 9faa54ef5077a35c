import { Aws } from "aws-cdk-lib";
import { PolicyStatement, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { Topic } from "aws-cdk-lib/aws-sns";
import { EmailSubscription } from "aws-cdk-lib/aws-sns-subscriptions";
import { Construct } from "constructs";
import { siteName } from "./site-names.ts";

export interface SiteTopicProps {
  readonly site: string;
  readonly emails: readonly string[];
}

/** What reaches people: alarms, and notices of the site monitor. */
export class SiteTopic extends Construct {
  readonly topic: Topic;

  constructor(scope: Construct, id: string, { site, emails }: SiteTopicProps) {
    super(scope, id);
    this.topic = new Topic(this, "Topic", { topicName: siteName(site), enforceSSL: true });
    // A topic with a policy of its own has lost the one that let the account's alarms in.
    this.topic.addToResourcePolicy(
      new PolicyStatement({
        sid: "Alarms",
        principals: [new ServicePrincipal("cloudwatch.amazonaws.com")],
        actions: ["sns:Publish"],
        resources: [this.topic.topicArn],
        conditions: { StringEquals: { "aws:SourceAccount": Aws.ACCOUNT_ID } },
      }),
    );
    for (const email of emails) this.topic.addSubscription(new EmailSubscription(email));
  }
}
