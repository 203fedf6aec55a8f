'use strict';

const PROBLEM = "";

/** Why the notebook cannot be used, empty when it can. */
exports.problem = () => PROBLEM;
