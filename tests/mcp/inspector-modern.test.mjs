import { inspect } from "./inspector.mjs";

inspect("modern");
