package analysis

// language is one that the analysis knows how to stem.
type language int

const (
	english language = iota
	french
)

// detect returns the language whose function words the text has more of;
// English when it has as many of both.
func detect(tokens []Token) language {
	if balance(tokens) > 0 {
		return french
	}
	return english
}

// balance returns how many more words of the text are French function words and
// not English ones than the other way round.
func balance(tokens []Token) int {
	n := 0
	for _, t := range tokens {
		en, fr := isEnglishWord(t.Word), isFrenchWord(t.Word)
		switch {
		case en && !fr:
			n--
		case fr && !en:
			n++
		}
	}
	return n
}

func isFunctionWord(w string, lang language) bool {
	if lang == french {
		return isFrenchWord(w)
	}
	return isEnglishWord(w)
}

// isEnglishWord reports whether the folded word is an English function word: one
// of Snowball's list (snowballstem.org) or a few more.
func isEnglishWord(w string) bool {
	switch w {
	case "a", "about", "after", "all", "also", "am", "an", "and", "any", "are", "as", "at",
		"be", "because", "been", "before", "being", "between", "both", "but", "by",
		"can", "could", "did", "do", "does", "doing", "during", "each", "for", "from", "further",
		"had", "has", "have", "having", "he", "her", "here", "hers", "him", "his", "how",
		"i", "if", "in", "into", "is", "it", "its", "itself", "just", "me", "more", "most", "must", "my",
		"no", "nor", "not", "of", "off", "on", "once", "only", "or", "other", "our", "ours", "out", "over", "own",
		"same", "she", "should", "so", "some", "such", "than", "that", "the", "their", "theirs", "them",
		"then", "there", "these", "they", "this", "those", "through", "to", "too",
		"under", "until", "up", "very", "was", "we", "were", "what", "when", "where", "which", "while",
		"who", "whom", "why", "will", "with", "would", "you", "your", "yours",
		"above", "again", "against", "below", "cannot", "down", "few", "herself", "himself", "let", "myself", "ought",
		"ourselves", "themselves", "yourself", "yourselves",
		"aren't", "can't", "couldn't", "didn't", "doesn't", "don't", "hadn't", "hasn't", "haven't", "isn't", "mustn't",
		"shan't", "shouldn't", "wasn't", "weren't", "won't", "wouldn't",
		"he'd", "he'll", "i'd", "i'll", "i'm", "i've", "she'd", "she'll", "they'd", "they'll", "they're", "they've",
		"we'd", "we'll", "we're", "we've", "you'd", "you'll", "you're", "you've":
		return true
	default:
		return false
	}
}

// isFrenchWord reports whether the folded word is a French function word: one of
// Snowball's list, but for single letters, or some more.
func isFrenchWord(w string) bool {
	switch w {
	case "a", "afin", "ai", "ainsi", "apres", "au", "aussi", "autre", "autres", "aux", "avant", "avec", "avoir", "avons", "avez",
		"car", "ce", "ceci", "cela", "celle", "celles", "celui", "ces", "cet", "cette", "ceux", "chaque", "chez", "comme", "comment",
		"dans", "de", "depuis", "des", "doit", "donc", "dont", "du", "elle", "elles", "en", "entre", "es", "est", "et",
		"etait", "etaient", "etant", "ete", "etes", "etre", "eu", "fait", "fut",
		"il", "ils", "je", "la", "le", "les", "leur", "leurs", "lorsque", "lui",
		"ma", "mais", "me", "meme", "mes", "moi", "mon", "ne", "ni", "nos", "notre", "nous",
		"on", "ont", "ou", "par", "parce", "pas", "pendant", "peut", "plus", "pour", "pourquoi", "puis",
		"qu", "quand", "que", "quel", "quelle", "quelles", "quels", "qui", "quoi",
		"sa", "sans", "se", "sera", "ses", "si", "soit", "sommes", "son", "sont", "sous", "suis", "sur",
		"ta", "te", "tes", "toi", "ton", "tous", "tout", "toute", "toutes", "tres", "tu",
		"un", "une", "vers", "vos", "votre", "vous", "y",
		"aie", "aient", "aies", "ait", "aura", "aurai", "auraient", "aurais", "aurait", "auras", "aurez", "auriez",
		"aurions", "aurons", "auront", "avaient", "avais", "avait", "aviez", "avions", "ayant", "ayez", "ayons",
		"etais", "etee", "etees", "etiez", "etions", "eue", "eues", "eumes", "eurent", "eus", "eusse", "eussent",
		"eusses", "eussiez", "eussions", "eut", "eutes", "eux", "fumes", "furent", "fus", "fusse", "fussent", "fusses",
		"fussiez", "fussions", "futes", "ici", "serai", "seraient", "serais", "serait", "seras", "serez", "seriez",
		"serions", "serons", "seront", "soi", "soient", "sois", "soyez", "soyons":
		return true
	default:
		return false
	}
}
