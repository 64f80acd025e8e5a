package poterne;

import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.en.EnglishAnalyzer;
import org.apache.lucene.analysis.email.UAX29URLEmailTokenizer;
import org.apache.lucene.analysis.fr.FrenchAnalyzer;
import org.apache.lucene.analysis.miscellaneous.RemoveDuplicatesTokenFilter;
import org.apache.lucene.analysis.pattern.PatternCaptureGroupTokenFilter;
import org.elasticsearch.index.analysis.AbstractTokenFilterFactory;
import org.elasticsearch.index.analysis.AbstractTokenizerFactory;
import org.elasticsearch.index.analysis.PreBuiltAnalyzerProviderFactory;
import org.elasticsearch.index.analysis.TokenFilterFactory;
import org.elasticsearch.index.analysis.TokenizerFactory;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.indices.analysis.PreBuiltCacheFactory.CachingStrategy;
import org.elasticsearch.plugins.AnalysisPlugin;
import org.elasticsearch.plugins.Plugin;

/**
 * What of Elasticsearch's own analysis module the bare node lacks and tests need:
 * the analysers of two languages, which are Lucene's, and what the index of API
 * keys names in its settings.
 */
public final class Analysers extends Plugin implements AnalysisPlugin {
  @Override
  public List<PreBuiltAnalyzerProviderFactory> getPreBuiltAnalyzerProviderFactories() {
    return List.of(
        new PreBuiltAnalyzerProviderFactory("english", CachingStrategy.ONE, EnglishAnalyzer::new),
        new PreBuiltAnalyzerProviderFactory("french", CachingStrategy.ONE, FrenchAnalyzer::new));
  }

  @Override
  public Map<String, AnalysisProvider<TokenizerFactory>> getTokenizers() {
    return Map.of(
        "uax_url_email",
        (index, environment, name, settings) ->
            new AbstractTokenizerFactory(index, settings, name) {
              @Override
              public Tokenizer create() {
                return new UAX29URLEmailTokenizer();
              }
            });
  }

  @Override
  public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
    return Map.of(
        "pattern_capture",
        AnalysisPlugin.requiresAnalysisSettings(
            (index, environment, name, settings) -> {
              Pattern[] patterns =
                  settings.getAsList("patterns").stream().map(Pattern::compile).toArray(Pattern[]::new);
              boolean original = settings.getAsBoolean("preserve_original", true);
              return new AbstractTokenFilterFactory(name, settings) {
                @Override
                public TokenStream create(TokenStream tokens) {
                  return new PatternCaptureGroupTokenFilter(tokens, original, patterns);
                }
              };
            }),
        "unique",
        (index, environment, name, settings) ->
            new AbstractTokenFilterFactory(name, settings) {
              @Override
              public TokenStream create(TokenStream tokens) {
                return new RemoveDuplicatesTokenFilter(tokens);
              }
            });
  }
}
