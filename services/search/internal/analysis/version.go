package analysis

// Version names what terms a text has. It is another whenever any text has other
// terms than before, so that whoever keeps terms can see that they are old.
const Version = 2
