import { describe, expect, it } from "vitest";
import { readAwsEnvironment } from "./environment.ts";

const whole = {
  FARSHORE_SITE_NAME: "berlin",
  FARSHORE_BUCKET: "farshore-berlin-journal",
  FARSHORE_TABLE: "farshore-berlin",
  FARSHORE_STATE_MACHINE_PREFIX: "arn:aws:states:eu-central-1:123456789012:stateMachine:farshore-berlin-",
};

describe("readAwsEnvironment", () => {
  it("takes what infra/ sets", () => {
    const operators = "arn:aws:iam::123456789012:role/ops, arn:aws:iam::123456789012:user/ann";
    expect(readAwsEnvironment({ ...whole, FARSHORE_OPERATOR_ARNS: operators })).toMatchObject({
      siteName: "berlin",
      bucketOwner: undefined,
      operatorArns: operators.split(", "),
      logLevel: "info",
    });
  });

  it("names everything that is missing or wrong", () => {
    const wrong = { FARSHORE_SITE_NAME: "Berlin", FARSHORE_OPERATOR_ARNS: "ann", FARSHORE_BUCKET_OWNER: "1" };
    const names = [
      ...["FARSHORE_SITE_NAME", "FARSHORE_BUCKET:", "FARSHORE_BUCKET_OWNER", "FARSHORE_TABLE"],
      ...["FARSHORE_STATE_MACHINE_PREFIX", "FARSHORE_OPERATOR_ARNS"],
    ];
    for (const name of names) expect(() => readAwsEnvironment(wrong), name).toThrow(name);
  });
});
