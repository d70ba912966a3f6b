// Pages that explain something come before those that list names, changes or figures.
const LISTS = /^(reference\/|changelog|contributing|performance|design)/;

var Scorer = {
  score: ([page, , , , score]) => (LISTS.test(page) ? score - 100 : score),
  // As Sphinx has them.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
