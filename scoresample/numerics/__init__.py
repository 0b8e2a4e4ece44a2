"""Array tools without astronomy: FFT, linear maps, curvature, trees."""
