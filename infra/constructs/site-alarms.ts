import { Duration } from "aws-cdk-lib";
import { Alarm, ComparisonOperator, type IMetric, Metric, TreatMissingData } from "aws-cdk-lib/aws-cloudwatch";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import type { Table } from "aws-cdk-lib/aws-dynamodb";
import type { Function as LambdaFunction } from "aws-cdk-lib/aws-lambda";
import type { Topic } from "aws-cdk-lib/aws-sns";
import type { Queue } from "aws-cdk-lib/aws-sqs";
import type { StateMachine } from "aws-cdk-lib/aws-stepfunctions";
import { Construct } from "constructs";
import { metricDimensions, metricNames, metricNamespace } from "#adapters/aws/measure.ts";
import { type AlertKind, alertFacts, runbookAnchor } from "#core/alerts.ts";
import { siteName } from "./site-names.ts";

export interface SiteAlarmsProps {
  readonly site: string;
  readonly topic: Topic;
  /** Functions behind a URL, by folder. */
  readonly answering: ReadonlyMap<string, LambdaFunction>;
  /** Functions on a schedule, by folder. */
  readonly scheduled: ReadonlyMap<string, LambdaFunction>;
  readonly machines: ReadonlyMap<string, StateMachine>;
  readonly deadLetters: Queue;
  readonly table: Table;
}

interface AlarmSpec {
  readonly id: string;
  /** What it means, in a sentence. */
  readonly says: string;
  /** Which of the site's alerts it is; its id ends so. */
  readonly alert: AlertKind;
  readonly metric: IMetric;
  /** How many of the last minutes must be bad. */
  readonly bad: readonly [minutes: number, of: number];
  /** Bad is when nothing comes, instead of when something does. */
  readonly silence?: boolean;
}

/** An alarm for each trouble that a person must hear of. */
export class SiteAlarms extends Construct {
  readonly alarms: readonly Alarm[];

  constructor(scope: Construct, id: string, props: SiteAlarmsProps) {
    super(scope, id);
    const action = new SnsAction(props.topic);
    this.alarms = specsOf(props).map((spec) => {
      const alarm = this.#create(spec, props.site);
      alarm.addAlarmAction(action);
      alarm.addOkAction(action);
      return alarm;
    });
  }

  #create({ id, says, alert, metric, bad, silence = false }: AlarmSpec, site: string): Alarm {
    const [minutes, of] = bad;
    return new Alarm(this, id, {
      alarmName: siteName(site, id),
      alarmDescription: `Site ${site}: ${says} What to do: docs/runbook.md#${runbookAnchor(alertFacts[alert].runbook)}`,
      metric,
      threshold: 1,
      comparisonOperator: silence
        ? ComparisonOperator.LESS_THAN_THRESHOLD
        : ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      evaluationPeriods: of,
      datapointsToAlarm: minutes,
      treatMissingData: silence ? TreatMissingData.BREACHING : TreatMissingData.NOT_BREACHING,
    });
  }
}

/** One value a minute. */
export const minute = { period: Duration.minutes(1), statistic: "Sum" } as const;

function specsOf({ site, answering, scheduled, machines, deadLetters, table }: SiteAlarmsProps): readonly AlarmSpec[] {
  return [
    {
      id: "vpgs-not-meeting-sla",
      says: "a VPG is behind its target RPO, short of its history, or does not replicate.",
      alert: "vpgs-not-meeting-sla",
      metric: figure(site, "vpgsNotMeetingSla"),
      bad: [5, 5],
    },
    {
      id: "alerts-stand",
      says: "farshore status shows an alert that nothing else tells of.",
      alert: "alerts-stand",
      metric: figure(site, "alertsStanding"),
      bad: [5, 5],
    },
    ...[...answering].flatMap(([folder, target]): AlarmSpec[] => [
      {
        id: `${folder}-fails`,
        says: `${folder} answers requests with errors of its own.`,
        alert: "fails",
        metric: urlErrors(target),
        bad: [3, 5],
      },
      {
        id: `${folder}-throttled`,
        says: `${folder} has no free execution for some requests.`,
        alert: "throttled",
        metric: target.metricThrottles(minute),
        bad: [3, 5],
      },
    ]),
    ...[...scheduled].flatMap(([folder, target]): AlarmSpec[] => [
      {
        id: `${folder}-fails`,
        says: `${folder} fails run after run.`,
        alert: "fails",
        metric: target.metricErrors(minute),
        bad: [3, 5],
      },
      {
        id: `${folder}-silent`,
        says: `${folder} is not run any more.`,
        alert: "silent",
        metric: target.metricInvocations(minute),
        bad: [5, 5],
        silence: true,
      },
    ]),
    ...[...machines].flatMap(([folder, machine]) =>
      (
        [
          ["failed", machine.metricFailed(minute)],
          ["aborted", machine.metricAborted(minute)],
          ["timed-out", machine.metricTimedOut(minute)],
        ] as const
      ).map(
        ([end, metric]): AlarmSpec => ({
          id: `${folder}-${end}`,
          says: `an execution of ${folder} ${end.replace("-", " ")}.`,
          alert: end,
          metric,
          bad: [1, 1],
        }),
      ),
    ),
    {
      id: "dead-letters",
      says: "calls could not be delivered and wait in the dead-letter queue.",
      alert: "dead-letters",
      metric: deadLetters.metricApproximateNumberOfMessagesVisible({ ...minute, statistic: "Maximum" }),
      bad: [1, 1],
    },
    ...(["ReadThrottleEvents", "WriteThrottleEvents"] as const).map(
      (metricName): AlarmSpec => ({
        id: `table-${metricName === "ReadThrottleEvents" ? "reads" : "writes"}-throttled`,
        says: "the table refuses calls that come too fast.",
        alert: "table-throttled",
        metric: table.metric(metricName, minute),
        bad: [3, 5],
      }),
    ),
  ];
}

/** One of the site's own figures, as the site monitor measures them. */
export function figure(site: string, name: keyof typeof metricNames): Metric {
  return new Metric({
    ...{ namespace: metricNamespace, metricName: metricNames[name], dimensionsMap: metricDimensions(site) },
    ...{ ...minute, statistic: "Maximum" },
  });
}

/** Replies of 500 and above. Handlers turn every error into a reply, so Lambda's own count of errors stays at none. */
function urlErrors(target: LambdaFunction): Metric {
  return target.metric("Url5xxCount", minute);
}
