package main

import "context"

func profile(ctx context.Context, b *bench, p *Page) error { return nil }
func read(ctx context.Context, b *bench, p *Page) error    { return nil }
