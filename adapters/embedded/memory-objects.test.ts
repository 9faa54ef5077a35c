import { objectsContract } from "../../test/contract/objects.ts";
import { MemoryObjects } from "./memory-objects.ts";

objectsContract("MemoryObjects", async () => ({ objects: new MemoryObjects() }));
