import { Aws } from "aws-cdk-lib";
import { AlarmStatusWidget, Dashboard, GraphWidget, type IAlarm, type IMetric } from "aws-cdk-lib/aws-cloudwatch";
import type { Function as LambdaFunction } from "aws-cdk-lib/aws-lambda";
import type { StateMachine } from "aws-cdk-lib/aws-stepfunctions";
import { Construct } from "constructs";
import { figure, minute } from "./site-alarms.ts";
import { siteName } from "./site-names.ts";

export interface SiteDashboardProps {
  readonly site: string;
  readonly alarms: readonly IAlarm[];
  readonly functions: readonly LambdaFunction[];
  readonly machines: readonly StateMachine[];
}

/** One page: is anything wrong, who calls, how long it takes, what ran. */
export class SiteDashboard extends Construct {
  constructor(scope: Construct, id: string, { site, alarms, functions, machines }: SiteDashboardProps) {
    super(scope, id);
    const each = (metric: (of: LambdaFunction) => IMetric): IMetric[] => functions.map(metric);
    const graph = (title: string, left: IMetric[]): GraphWidget =>
      new GraphWidget({ title, left, width: 12, height: 6 });
    new Dashboard(this, "Dashboard", {
      // Names of dashboards are one space over all regions of an account.
      dashboardName: `${siteName(site)}-${Aws.REGION}`,
      widgets: [
        [new AlarmStatusWidget({ title: `Site ${site}`, alarms: [...alarms], width: 24, height: 4 })],
        [
          graph("RPO of the VPG furthest behind, ms", [figure(site, "rpoMsMax")]),
          graph("VPGs, those not meeting their SLA, and alerts that stand", [
            figure(site, "vpgs"),
            figure(site, "vpgsNotMeetingSla"),
            figure(site, "alertsStanding"),
          ]),
        ],
        [
          graph(
            "Calls a minute",
            each((of) => of.metricInvocations(minute)),
          ),
          graph(
            "Duration, p99, ms",
            each((of) => of.metricDuration({ ...minute, statistic: "p99" })),
          ),
        ],
        [
          graph(
            "At the same time",
            each((of) => of.metric("ConcurrentExecutions", { ...minute, statistic: "Maximum" })),
          ),
          graph(
            "Operations started and ended",
            machines.flatMap((machine) => [machine.metricStarted(), machine.metricSucceeded(), machine.metricFailed()]),
          ),
        ],
      ],
    });
  }
}
