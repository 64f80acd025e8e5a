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
	balance := 0
	for _, t := range tokens {
		en, fr := isEnglishWord(t.Word), isFrenchWord(t.Word)
		switch {
		case en && !fr:
			balance--
		case fr && !en:
			balance++
		}
	}
	if balance > 0 {
		return french
	}
	return english
}

func isFunctionWord(w string, lang language) bool {
	if lang == french {
		return isFrenchWord(w)
	}
	return isEnglishWord(w)
}

// isEnglishWord reports whether the folded word is an English function word.
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
		"who", "whom", "why", "will", "with", "would", "you", "your", "yours":
		return true
	default:
		return false
	}
}

// isFrenchWord reports whether the folded word is a French function word.
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
		"un", "une", "vers", "vos", "votre", "vous", "y":
		return true
	default:
		return false
	}
}
