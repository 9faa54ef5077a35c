import { z } from "zod";
import { scrubJournals } from "#core/scrub/scrub-journals.ts";
import { taskHandler } from "../shared/task-handler.ts";

/** On a schedule: reads back and checks a part of every journal, as its rate allows. Nothing is mended and nothing deleted. */
export const handler = taskHandler(z.unknown(), (site) => scrubJournals(site));
