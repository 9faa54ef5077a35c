import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * Files that take a minute or more, the longest first: begun last they would run on alone. Vitest itself knows durations only of
 * files that it has run before, and CI has run none.
 */
const longest = ["kill", "mutation", "two-interpreters", "stop", "sigkill", "reverse"].map(
  (name) => `/test/workflows/${name}.test.ts`,
);

function rank({ moduleId }: TestSpecification): number {
  const at = longest.findIndex((path) => moduleId.endsWith(path));
  return at < 0 ? longest.length : at;
}

/** Vitest's order within each group of projects, but for the files that are known to take long. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const group = ({ project }: TestSpecification): number => project.config.sequence.groupOrder;
    return sorted.sort((left, right) => group(left) - group(right) || rank(left) - rank(right));
  }
}
