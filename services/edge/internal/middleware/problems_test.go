package middleware

import (
	"strings"

	"github.com/poterne/poterne/pkg/config"
)

type problems struct{ config.Problems }

func (p *problems) mentions(path string) bool {
	err := p.Err()
	return err != nil && strings.Contains(err.Error(), path+":")
}
