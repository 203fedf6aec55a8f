'use strict';

const LONGEST = 1000;

/** Keeps notes in memory, numbered from 1. */
class Notebook {
  constructor() {
    this.notes = [];
  }

  /** Keeps a note of 1 to 1000 characters and returns its number; RangeError for any other. */
  add(text) {
    if (text.length < 1 || text.length > LONGEST) {
      throw new RangeError(`a note has 1 to ${LONGEST} characters`);
    }
    return this.notes.push(text);
  }

  all() {
    return this.notes.map((text, index) => ({ number: index + 1, text }));
  }
}

module.exports = { Notebook };
