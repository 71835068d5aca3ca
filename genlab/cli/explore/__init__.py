"""genlab explore: a page in the browser that shows what a trained model can do."""
