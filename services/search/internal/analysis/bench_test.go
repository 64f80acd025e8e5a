package analysis

import (
	"strings"
	"testing"
)

// BenchmarkAnalyze is of passages of about a hundred words.
func BenchmarkAnalyze(b *testing.B) {
	for name, text := range map[string]string{
		"en": "the results of the experiments that were made on heated wings in a supersonic flow are organised by the angle of attack. ",
		"fr": "les résultats des expériences menées sur les ailes chauffées d'un avion sont présentés selon l'angle de l'écoulement supersonique. ",
	} {
		passage := strings.Repeat(text, 5)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Analyze(passage)
			}
		})
	}
	b.Run("respelling a word", func(b *testing.B) {
		words := strings.Fields("results experiments heated wings supersonic organised angle attack boundary layers")
		for b.Loop() {
			for _, w := range words {
				american(w)
			}
		}
	})
}
