package edge

import (
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/openai"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// answers is where the handlers keep answers; nil: nowhere.
func (s *Service) answers() *openai.Answers {
	if s.security.Cache == nil {
		return nil
	}
	return &openai.Answers{
		Cache: s.security.Cache, Serving: s.security.Serving, Collections: searchv1.NewSearchServiceClient(s.backends.search),
		Detectors: openai.DetectorsDigest(s.cfg.Detectors),
	}
}

// hintHeaders are the request headers that a call takes along from HTTP.
func (s *Service) hintHeaders() []string {
	headers := s.cfg.OpenAI.Headers()
	if s.security.Cache != nil {
		headers = append(headers, respcache.Headers()...)
	}
	return headers
}
