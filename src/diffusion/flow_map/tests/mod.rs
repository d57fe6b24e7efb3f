mod derivatives;
