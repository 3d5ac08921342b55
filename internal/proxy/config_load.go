package proxy

import (
	"fmt"

	"github.com/onceguard/onceguard/internal/yamlfile"
)

var configFile = yamlfile.Kind{Name: "configuration", Has: "`upstreams:`"}

// Load reads and checks a configuration file. Its errors name the file, the
// line where there is one, and what to write instead.
func Load(path string) (*Config, error) {
	data, err := configFile.Read(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse is Load for the text of a configuration.
func Parse(data []byte) (*Config, error) {
	c := &Config{}
	if _, err := configFile.Decode(data, c); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}
