import { inspect } from "./inspector.mjs";

inspect("legacy");
