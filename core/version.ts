/** Of the program; package.json says the same (a house test compares them). */
export const version = "0.1.0";
